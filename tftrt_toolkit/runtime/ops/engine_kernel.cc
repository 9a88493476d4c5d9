// TRTEngineOp: runs a segment through the executor bound to its resource, else natively.
#include <chrono>

#include "executor.h"
#include "native_function.h"
#include "slots.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/profiler/lib/traceme.h"
#include "xla/stream_executor/stream.h"
#include "xla/stream_executor/stream_executor.h"

namespace tftrt {

using ::tensorflow::AsyncOpKernel;
using ::tensorflow::DataType;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

using Clock = std::chrono::steady_clock;

int64_t NanosecondsSince(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

// Tensors as executors see them. Holds the dims that the views point to.
class TensorViews {
 public:
  void Add(const Tensor& tensor) {
    tensors_.push_back(tensor);  // shares the buffer
    const auto sizes = tensor.shape().dim_sizes();
    offsets_.push_back(dims_.size());
    dims_.insert(dims_.end(), sizes.begin(), sizes.end());
  }
  TftrtTensor* Finish() {
    views_.resize(tensors_.size());
    for (size_t i = 0; i < tensors_.size(); ++i) {
      views_[i] = {tensors_[i].data(), dims_.data() + offsets_[i],
                   static_cast<int64_t>(tensors_[i].TotalBytes()), tensors_[i].dims(),
                   static_cast<int32_t>(tensors_[i].dtype())};
    }
    return views_.data();
  }
  int32_t size() const { return static_cast<int32_t>(tensors_.size()); }
  const TftrtTensor* views() const { return views_.data(); }

 private:
  absl::InlinedVector<Tensor, 4> tensors_;
  absl::InlinedVector<size_t, 4> offsets_;
  absl::InlinedVector<int64_t, 16> dims_;
  absl::InlinedVector<TftrtTensor, 4> views_;
};

// What TRTEngineOp does, whichever way its kernel is scheduled.
class Engine {
 public:
  explicit Engine(OpKernelConstruction* construction) {
    std::string resource;
    tensorflow::NameAttrList function;
    OP_REQUIRES_OK(construction, construction->GetAttr("segment_func", &function));
    OP_REQUIRES_OK(construction, construction->GetAttr("segment_funcdef_name", &resource));
    // Models that stock TF-TRT converted name the resource by the node's last path component; up to
    // TensorFlow 1.14 they name the native function here.
    if (resource.find('@') == std::string::npos) {
      if (function.name().empty()) function.set_name(resource);
      const std::string& node = construction->def().name();
      resource = node.substr(node.rfind('/') + 1);
    }
    has_native_ = !function.name().empty();
    slot_ = GetSlot(resource);
    on_gpu_ = construction->device_type() == tensorflow::DeviceType(tensorflow::DEVICE_GPU);
    bool has_int32 = false;
    for (int i = 0; i < construction->num_inputs(); ++i) {
      has_int32 |= construction->input_type(i) == tensorflow::DT_INT32;
    }
    for (int i = 0; i < construction->num_outputs(); ++i) {
      has_int32 |= construction->output_type(i) == tensorflow::DT_INT32;
    }
    native_ = std::make_unique<NativeFunction>(function, false, on_gpu_ && has_int32);
    xla_ = std::make_unique<NativeFunction>(function, true, on_gpu_ && has_int32);
  }

  ~Engine() {
    if (slot_ != nullptr) SweepSlot(std::move(slot_));
  }

  bool observed() const { return slot_->observers.load(std::memory_order_relaxed) > 0; }
  Slot& slot() { return *slot_; }

  // Runs the bound executor. `*done` stays false where the segment must run natively.
  absl::Status TryExecutor(OpKernelContext* context, bool* xla, bool* done) {
    *done = *xla = false;
    if (observed()) return absl::OkStatus();
    const std::shared_ptr<Binding> binding = slot_->binding();
    if (binding == nullptr) {
      if (strict()) return StrictError(slot_->reason());
      return absl::OkStatus();
    }
    if (binding->mode != kTftrtExecutor) {
      *xla = binding->mode == kTftrtXla;
      return absl::OkStatus();
    }
    PythonCall python;
    if (!python) return absl::OkStatus();
    const auto start = Clock::now();
    tensorflow::profiler::TraceMe range(
        [&] { return absl::StrCat(slot_->resource, " [", binding->label, "]"); });
    char message[512] = "";
    const TftrtStatus status = Execute(context, *binding, message, sizeof(message));
    if (status == kTftrtOk) {
      slot_->counters.calls.fetch_add(1, std::memory_order_relaxed);
      slot_->counters.nanoseconds.fetch_add(NanosecondsSince(start), std::memory_order_relaxed);
      *done = true;
      return absl::OkStatus();
    }
    return FallBack(binding, status, message);
  }

  absl::Status Native(OpKernelContext* context, bool xla,
                      tensorflow::FunctionLibraryRuntime::Handle* handle) {
    if (!has_native_) {
      return absl::FailedPreconditionError(
          absl::StrCat(slot_->resource, " can't run: the model was saved without native segments, ",
                       "and no engine of it fits here: convert the original model again"));
    }
    return (xla ? xla_ : native_)->Get(context->function_library(), handle);
  }

  // Hands the outputs on, counts the call, and tells observers of it.
  absl::Status Finish(OpKernelContext* context, const NativeRun& run, Clock::time_point start) {
    if (run.outputs.size() != static_cast<size_t>(context->num_outputs())) {
      return absl::InternalError(absl::StrCat(slot_->resource, ": the native function gave ",
                                              run.outputs.size(), " outputs, the op has ",
                                              context->num_outputs()));
    }
    if (observed()) TF_RETURN_IF_ERROR(TellObservers(context, run));
    for (size_t i = 0; i < run.outputs.size(); ++i) {
      context->set_output(static_cast<int>(i), run.outputs[i]);
    }
    slot_->counters.native_calls.fetch_add(1, std::memory_order_relaxed);
    slot_->counters.native_nanoseconds.fetch_add(NanosecondsSince(start),
                                                 std::memory_order_relaxed);
    return absl::OkStatus();
  }

 private:
  TftrtStatus Execute(OpKernelContext* context, Binding& binding, char* message, int32_t bytes) {
    TensorViews inputs;
    PlanKey key;
    TftrtCall call{};
    call.message = message;
    call.message_bytes = bytes;
    call.device = -1;
    if (on_gpu_) {
      auto* stream = context->op_device_context()->stream();
      call.device = stream->parent()->device_ordinal();
      call.stream = stream->platform_specific_handle().stream;
    }
    key.push_back(call.device);
    key.push_back(reinterpret_cast<int64_t>(call.stream));
    for (int i = 0; i < context->num_inputs(); ++i) {
      const Tensor& tensor = context->input(i);
      if (tensor.dtype() == tensorflow::DT_RESOURCE) continue;
      inputs.Add(tensor);
      key.push_back(tensor.dims());
      for (int d = 0; d < tensor.dims(); ++d) key.push_back(tensor.dim_size(d));
    }
    call.num_inputs = inputs.size();
    call.inputs = inputs.Finish();
    absl::InlinedVector<TftrtTensor, 4> outputs(context->num_outputs(), TftrtTensor{});
    call.num_outputs = context->num_outputs();
    call.outputs = outputs.data();
    call.context = context;
    call.allocate = &Engine::AllocateOutput;
    std::shared_ptr<const Plan> plan;
    const TftrtStatus prepared = binding.Prepare(std::move(key), &call, &plan);
    if (prepared != kTftrtOk) return prepared;
    Tensor scratch;
    if (plan->scratch_bytes > 0) {
      const absl::Status status = context->allocate_temp(
          tensorflow::DT_UINT8, TensorShape({plan->scratch_bytes}), &scratch);
      if (!status.ok()) return Refuse(message, bytes, kTftrtDeclined, status);
      call.scratch = scratch.data();
      call.scratch_bytes = plan->scratch_bytes;
    }
    for (int i = 0; i < call.num_outputs; ++i) {
      outputs[i].dtype = static_cast<int32_t>(context->expected_output_dtype(i));
      if (!plan->outputs[i].known) continue;
      const auto& dims = plan->outputs[i].dims;
      if (AllocateOutput(&call, i, static_cast<int32_t>(dims.size()), dims.data()) == nullptr &&
          outputs[i].bytes > 0) {
        return Refuse(message, bytes, kTftrtDeclined,
                      absl::ResourceExhaustedError("no memory for an output"));
      }
      outputs[i].dims = dims.data();
    }
    const auto status =
        static_cast<TftrtStatus>(binding.executor.enqueue(plan->token, &call));
    if (status != kTftrtOk) return status;
    for (int i = 0; i < call.num_outputs; ++i) {
      if (context->mutable_output(i) == nullptr) {
        return Refuse(message, bytes, kTftrtFailed,
                      absl::InternalError(absl::StrCat("output ", i, " was not written")));
      }
    }
    return kTftrtOk;
  }

  static TftrtStatus Refuse(char* message, int32_t bytes, TftrtStatus status,
                            const absl::Status& why) {
    std::snprintf(message, bytes, "%s", std::string(why.message()).c_str());
    return status;
  }

  static void* AllocateOutput(TftrtCall* call, int32_t index, int32_t rank, const int64_t* dims) {
    auto* context = static_cast<OpKernelContext*>(call->context);
    TensorShape shape;
    Tensor* output = nullptr;
    if (!tensorflow::TensorShapeUtils::MakeShape(dims, rank, &shape).ok() ||
        !context->allocate_output(index, shape, &output).ok()) {
      call->outputs[index].bytes = 1;  // tells a failure from an empty tensor
      return nullptr;
    }
    TftrtTensor& view = call->outputs[index];
    view.data = output->data();
    view.bytes = static_cast<int64_t>(output->TotalBytes());
    view.rank = rank;
    return view.data;
  }

  absl::Status FallBack(const std::shared_ptr<Binding>& binding, TftrtStatus status,
                        const char* message) {
    auto& counter = status == kTftrtDeclined ? slot_->counters.declined : slot_->counters.failed;
    counter.fetch_add(1, std::memory_order_relaxed);
    if (status != kTftrtDeclined) slot_->Retire(binding);
    // Repeated reasons are told once.
    if (slot_->reason() != message) {
      slot_->SetReason(message);
      if (callbacks().fell_back != nullptr) {
        callbacks().fell_back(slot_->resource.c_str(), binding->label.c_str(), status, message);
      }
    }
    return strict() ? StrictError(message) : absl::OkStatus();
  }

  absl::Status StrictError(const std::string& reason) const {
    return absl::FailedPreconditionError(absl::StrCat(
        slot_->resource, " would run natively, which the strict mode forbids: ",
        reason.empty() ? "no executor is bound" : reason));
  }

  absl::Status TellObservers(OpKernelContext* context, const NativeRun& run) {
    TensorViews inputs, outputs;
    for (const Tensor& tensor : run.inputs) {
      if (tensor.dtype() == tensorflow::DT_RESOURCE) continue;
      TF_RETURN_IF_ERROR(AddOnHost(context, tensor, &inputs));
    }
    for (const Tensor& tensor : run.outputs) {
      TF_RETURN_IF_ERROR(AddOnHost(context, tensor, &outputs));
    }
    TftrtCall call{};
    call.device = -1;
    call.inputs = inputs.Finish();
    call.num_inputs = inputs.size();
    call.outputs = outputs.Finish();
    call.num_outputs = outputs.size();
    slot_->counters.observed.fetch_add(1, std::memory_order_relaxed);
    PythonCall python;
    if (python && callbacks().observed != nullptr) {
      callbacks().observed(slot_->resource.c_str(), &call);
    }
    return absl::OkStatus();
  }

  absl::Status AddOnHost(OpKernelContext* context, const Tensor& tensor, TensorViews* views) {
    if (!on_gpu_) {
      views->Add(tensor);
      return absl::OkStatus();
    }
    Tensor host(tensor.dtype(), tensor.shape());
    TF_RETURN_IF_ERROR(context->op_device_context()->CopyDeviceTensorToCPUSync(
        &tensor, slot_->resource, static_cast<tensorflow::Device*>(context->device()), &host));
    views->Add(host);
    return absl::OkStatus();
  }

  std::shared_ptr<Slot> slot_;
  std::unique_ptr<NativeFunction> native_;
  std::unique_ptr<NativeFunction> xla_;
  bool on_gpu_ = false;
  bool has_native_ = true;
};

// On a CPU the native function's kernels share the inter-op threads with everyone: a kernel that
// blocked one while it waits for others could stop them all, so this one is asynchronous.
class EngineOnCpu : public AsyncOpKernel {
 public:
  explicit EngineOnCpu(OpKernelConstruction* construction)
      : AsyncOpKernel(construction), engine_(construction) {}

  void ComputeAsync(OpKernelContext* context, DoneCallback done) override {
    bool xla, executed;
    OP_REQUIRES_OK_ASYNC(context, engine_.TryExecutor(context, &xla, &executed), done);
    if (executed) return done();
    tensorflow::FunctionLibraryRuntime::Handle handle;
    OP_REQUIRES_OK_ASYNC(context, engine_.Native(context, xla, &handle), done);
    const auto start = Clock::now();
    auto run = std::make_shared<NativeRun>(context, /*blocking=*/false);
    NativeRun* r = run.get();
    context->function_library()->Run(
        r->options, handle, r->inputs, &r->outputs,
        [this, context, start, done = std::move(done), run](const absl::Status& status) {
          context->SetStatus(status.ok() ? engine_.Finish(context, *run, start) : status);
          done();
        });
  }

 private:
  Engine engine_;
};

// On a GPU kernels only launch, so a synchronous one saves the two changes of thread that an
// asynchronous kernel costs: one into the function, one on to the op that follows.
class EngineOnGpu : public OpKernel {
 public:
  explicit EngineOnGpu(OpKernelConstruction* construction)
      : OpKernel(construction), engine_(construction) {}

  void Compute(OpKernelContext* context) override {
    bool xla, executed;
    OP_REQUIRES_OK(context, engine_.TryExecutor(context, &xla, &executed));
    if (executed) return;
    tensorflow::FunctionLibraryRuntime::Handle handle;
    OP_REQUIRES_OK(context, engine_.Native(context, xla, &handle));
    const auto start = Clock::now();
    NativeRun run(context, /*blocking=*/true);
    OP_REQUIRES_OK(context, context->function_library()->RunSync(run.options, handle, run.inputs,
                                                                 &run.outputs));
    OP_REQUIRES_OK(context, engine_.Finish(context, run, start));
  }

 private:
  Engine engine_;
};

REGISTER_KERNEL_BUILDER(Name("TRTEngineOp").Device(tensorflow::DEVICE_CPU), EngineOnCpu);
REGISTER_KERNEL_BUILDER(Name("TRTEngineOp").Device(tensorflow::DEVICE_GPU), EngineOnGpu);

}  // namespace tftrt
