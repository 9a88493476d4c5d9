// A segment's native function, as TensorFlow's own call of it runs, or XLA's.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_NATIVE_FUNCTION_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_NATIVE_FUNCTION_H_

#include <atomic>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "device_copy.h"
#include "kept_variables.h"
#include "tensorflow/core/common_runtime/function.h"
#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/cpu_info.h"
#include "tensorflow/core/platform/threadpool.h"

namespace tftrt {

// Where the closures run that a function's executors hand on, while a thread waits for the function.
enum class Scheduling {
  kAsStep,   // nobody waits: the first in the calling thread, the others as the step's own
  kInline,   // all in the calling thread: no change of thread
  kThreads,  // in threads: parts on CPU and GPU run beside each other, as TensorFlow has them
};

// Chooses between the last two by trying: a chain of GPU kernels is quickest inline, many small
// kernels on both devices side by side.
class SchedulingTrial {
 public:
  Scheduling Next() {
    const int run = runs_.fetch_add(1, std::memory_order_relaxed);
    const bool inlined = run < kTrials ? run % 2 == 0 : least_[0] <= least_[1];
    return inlined ? Scheduling::kInline : Scheduling::kThreads;
  }

  void Add(Scheduling scheduling, int64_t nanoseconds) {
    if (runs_.load(std::memory_order_relaxed) > 2 * kTrials) return;
    std::atomic<int64_t>& least = least_[scheduling == Scheduling::kThreads];
    int64_t before = least.load();
    while (nanoseconds < before && !least.compare_exchange_weak(before, nanoseconds)) {
    }
  }

 private:
  static constexpr int kTrials = 16;
  std::atomic<int> runs_{0};
  std::atomic<int64_t> least_[2] = {std::numeric_limits<int64_t>::max(),
                                    std::numeric_limits<int64_t>::max()};
};

// Closures in it wait for nobody, so that threads that wait for them can't use it up.
inline tensorflow::thread::ThreadPool& native_threads() {
  static auto* pool = new tensorflow::thread::ThreadPool(
      tensorflow::Env::Default(), "tftrt_native", tensorflow::port::MaxParallelism());
  return *pool;
}

// The kernel of a call of the function, made once and run with the engine's own inputs: there is no
// graph around it to be scheduled.
//
// It is a call, as TensorFlow's functions call each other, for the body run by itself would miss
// the placer, grappler and oneDNN's rewrites: other kernels, other roundings.
class NativeFunction {
 public:
  using Runtime = tensorflow::FunctionLibraryRuntime;

  // xla: compiled by XLA instead of run op by op.
  NativeFunction(tensorflow::NameAttrList function, bool xla)
      : function_(std::move(function)), xla_(xla) {}

  // How a run that is waited for is best scheduled.
  SchedulingTrial trial;

  // Thread safe; the work is done by the first caller.
  absl::Status Get(Runtime* runtime, tensorflow::OpKernel** kernel) {
    tensorflow::mutex_lock lock(mutex_);
    if (kernel_ == nullptr) TF_RETURN_IF_ERROR(Make(runtime));
    *kernel = kernel_.get();
    return absl::OkStatus();
  }

 private:
  absl::Status Make(Runtime* runtime) TF_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto* library = runtime->GetFunctionLibraryDefinition();
    const tensorflow::FunctionDef* definition = library->Find(function_.name());
    if (definition == nullptr) {
      return absl::NotFoundError(absl::StrCat("segment function ", function_.name(),
                                              " is not in the function library"));
    }
    tensorflow::NodeDef node;
    node.set_name(function_.name());
    node.set_op("StatefulPartitionedCall");
    node.set_device(runtime->device()->name());
    auto& attributes = *node.mutable_attr();
    *attributes["f"].mutable_func() = function_;
    const tensorflow::DataTypeVector inputs = TypesOf(definition->signature().input_arg());
    for (size_t i = 0; i < inputs.size(); ++i) node.add_input(absl::StrCat("input:", i));
    tensorflow::SetAttrValue(inputs, &attributes["Tin"]);
    tensorflow::SetAttrValue(TypesOf(definition->signature().output_arg()), &attributes["Tout"]);
    for (const char* name : {"config", "config_proto", "executor_type"}) attributes[name].set_s("");
    if (xla_) {  // TensorFlow makes a compiling kernel of such a call
      for (const char* name : {"_XlaMustCompile", "_noinline"}) attributes[name].set_b(true);
    }
    std::shared_ptr<const tensorflow::NodeProperties> properties;
    TF_RETURN_IF_ERROR(
        tensorflow::NodeProperties::CreateFromNodeDef(std::move(node), library, &properties));
    return Create(runtime, properties);
  }

  template <typename Arguments>
  static tensorflow::DataTypeVector TypesOf(const Arguments& arguments) {
    tensorflow::DataTypeVector types;
    for (const auto& argument : arguments) types.push_back(argument.type());
    return types;
  }

  // As the runtime would, if it were willing to when it is another's overlay.
  absl::Status Create(Runtime* runtime,
                      const std::shared_ptr<const tensorflow::NodeProperties>& properties)
      TF_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto* compilers = tensorflow::GetDefaultCustomKernelCreator();
    if (compilers != nullptr && compilers->CanCreateKernel(*runtime, properties)) {
      return compilers->CreateKernel(runtime, properties, &kernel_);
    }
    if (xla_) return absl::UnimplementedError("XLA can't compile for this device");
    tensorflow::Device* device = runtime->device();
    tensorflow::OpKernel* kernel = nullptr;
    TF_RETURN_IF_ERROR(tensorflow::CreateOpKernel(
        tensorflow::DeviceType(device->attributes().device_type()), device,
        device->GetAllocator(tensorflow::AllocatorAttributes()), runtime,
        device->resource_manager(), properties, runtime->graph_def_version(), &kernel));
    kernel_.reset(kernel);
    return absl::OkStatus();
  }

  const tensorflow::NameAttrList function_;
  const bool xla_;
  tensorflow::mutex mutex_;
  std::unique_ptr<tensorflow::OpKernel> kernel_ TF_GUARDED_BY(mutex_);
};

// One run of that kernel on the inputs of an engine's context.
class NativeRun {
 public:
  // may_fail: an error of the function is no error of the step, which an error would cancel.
  NativeRun(tensorflow::OpKernelContext* outer, tensorflow::OpKernel* kernel,
            Scheduling scheduling, bool may_fail)
      : outer_(outer), kernel_(kernel), params_(*outer->params()) {
    params_.eigen_gpu_device = nullptr;  // the outer context owns its own
    params_.op_kernel = kernel;
    params_.forward_from_array = nullptr;
    params_.outputs_required_array = nullptr;
    if (may_fail) {
      own_cancellation_ =
          std::make_unique<tensorflow::CancellationManager>(outer->cancellation_manager());
      params_.cancellation_manager = own_cancellation_.get();
    }
    SetRunner(scheduling);
  }

  // Takes the engine's inputs and, if they are given, the variables behind them.
  //
  // Copies what the call wants in the other memory: a function keeps int32 on the host, a kernel
  // that says nothing of it in device memory.
  absl::Status Prepare(const Handles* variables) {
    const int own = outer_->num_inputs();
    inputs_.reserve(own + (variables != nullptr ? variables->size() : 0));
    for (int i = 0; i < own; ++i) inputs_.push_back(outer_->input(i));
    if (variables != nullptr) inputs_.insert(inputs_.end(), variables->begin(), variables->end());
    TF_RETURN_IF_ERROR(CheckTypes());
    for (int i = 0; i < own; ++i) {
      TF_RETURN_IF_ERROR(
          Move(outer_->input_memory_type(i), kernel_->input_memory_types()[i], &inputs_[i]));
    }
    for (tensorflow::Tensor& tensor : inputs_) values_.emplace_back(&tensor);
    params_.inputs = values_;
    attributes_.resize(outer_->num_outputs());
    for (size_t i = 0; i < attributes_.size(); ++i) {
      attributes_[i].set_on_host(kernel_->output_memory_types()[i] == tensorflow::HOST_MEMORY);
    }
    params_.output_attr_array = attributes_.data();
    inner_ = std::make_unique<tensorflow::OpKernelContext>(&params_, outer_->num_outputs());
    return absl::OkStatus();
  }

  // `done` may be called before this returns.
  void Start(std::function<void()> done) {
    if (tensorflow::AsyncOpKernel* kernel = kernel_->AsAsync()) {
      return kernel->ComputeAsync(inner_.get(), std::move(done));
    }
    kernel_->Compute(inner_.get());
    done();
  }

  // What came of it; fills `outputs`, in the memory that the engine has them in.
  absl::Status Finish() {
    own_cancellation_.reset();  // its parent may be gone once the engine is done
    TF_RETURN_IF_ERROR(inner_->status());
    for (int i = 0; i < inner_->num_outputs(); ++i) {
      const tensorflow::TensorValue value = inner_->release_output(i);
      const std::unique_ptr<tensorflow::Tensor> tensor(value.tensor);
      if (tensor == nullptr) {
        return absl::InternalError(absl::StrCat("the native function left out output ", i));
      }
      outputs.push_back(*tensor);
      TF_RETURN_IF_ERROR(Move(kernel_->output_memory_types()[i], outer_->output_memory_type(i),
                              &outputs.back()));
    }
    return absl::OkStatus();
  }

  std::vector<tensorflow::Tensor> outputs;

 private:
  void SetRunner(Scheduling scheduling) {
    if (scheduling == Scheduling::kAsStep) {
      runner_ = [first = true, pool = *outer_->runner()](std::function<void()> closure) mutable {
        if (!first) return pool(std::move(closure));
        first = false;
        closure();
      };
    } else {
      // The step's own threads would not do: one of them is blocked, and all may be.
      params_.run_all_kernels_inline = scheduling == Scheduling::kInline;
      runner_ = [inlined = params_.run_all_kernels_inline,
                 caller = std::this_thread::get_id()](std::function<void()> closure) {
        if (inlined && std::this_thread::get_id() == caller) return closure();
        native_threads().Schedule(std::move(closure));
      };
    }
    params_.runner = &runner_;
  }

  // The function's types are its own; a damaged model's may be others than the engine's.
  absl::Status CheckTypes() const {
    tensorflow::DataTypeVector inputs;
    for (const tensorflow::Tensor& tensor : inputs_) inputs.push_back(tensor.dtype());
    if (inputs == kernel_->input_types() &&
        outer_->op_kernel().output_types() == kernel_->output_types()) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat(kernel_->name(), ": the function has other types than the engine"));
  }

  // A CPU has one kind of memory, whatever its kernels call it.
  absl::Status Move(tensorflow::MemoryType held, tensorflow::MemoryType wanted,
                    tensorflow::Tensor* tensor) const {
    auto* context = outer_->op_device_context();
    if (held == wanted || context == nullptr) return absl::OkStatus();
    tensorflow::Tensor moved;
    if (wanted == tensorflow::HOST_MEMORY) {
      tensorflow::AllocatorAttributes place;
      place.set_on_host(true);
      place.set_gpu_compatible(true);
      TF_RETURN_IF_ERROR(outer_->allocate_temp(tensor->dtype(), tensor->shape(), &moved, place));
      auto* device = static_cast<tensorflow::Device*>(outer_->device());
      TF_RETURN_IF_ERROR(context->CopyDeviceTensorToCPUSync(tensor, "segment", device, &moved));
    } else {
      TF_RETURN_IF_ERROR(CopyToDevice(outer_, *tensor, &moved));
    }
    *tensor = std::move(moved);
    return absl::OkStatus();
  }

  tensorflow::OpKernelContext* const outer_;
  tensorflow::OpKernel* const kernel_;
  tensorflow::OpKernelContext::Params params_;
  std::unique_ptr<tensorflow::CancellationManager> own_cancellation_;
  std::function<void(std::function<void()>)> runner_;
  std::vector<tensorflow::Tensor> inputs_;
  std::vector<tensorflow::TensorValue> values_;
  std::vector<tensorflow::AllocatorAttributes> attributes_;
  std::unique_ptr<tensorflow::OpKernelContext> inner_;  // goes before what it refers to
};

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_NATIVE_FUNCTION_H_
