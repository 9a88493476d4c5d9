// A segment's native function, instantiated once and run as TensorFlow or XLA would.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_NATIVE_FUNCTION_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_NATIVE_FUNCTION_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tftrt {

// One run: the tensors, and the runner that TensorFlow's executor schedules the function with.
//
// The executor hands closures to a runner, and normally each is a hop to another thread. This one
// runs in the calling thread what it can: all of them if that thread waits for the function, else
// the first, for later ones may be meant to run beside it.
struct NativeRun {
  tensorflow::FunctionLibraryRuntime::Options options;
  std::vector<tensorflow::Tensor> inputs;
  std::vector<tensorflow::Tensor> outputs;
  std::function<void(std::function<void()>)> runner;
  std::unique_ptr<tensorflow::CancellationManager> own_cancellation;

  // blocking: the calling thread waits for the function.
  // may_fail: an error of the function is no error of the step, which an error would cancel.
  NativeRun(tensorflow::OpKernelContext* context, bool blocking, bool may_fail)
      : options(context->step_id()) {
    options.cancellation_manager = context->cancellation_manager();
    if (may_fail) {
      own_cancellation =
          std::make_unique<tensorflow::CancellationManager>(options.cancellation_manager);
      options.cancellation_manager = own_cancellation.get();
    }
    options.collective_executor = context->collective_executor();
    options.step_container = context->step_container();
    options.stats_collector = context->stats_collector();
    // A While body may run the same function twice at once within a step: keys of tensors that
    // change memory inside would collide in the step's own rendezvous.
    options.create_rendezvous = true;
    options.run_all_kernels_inline = blocking;
    if (blocking) {
      // Each change of thread costs more than the call. What other threads hand on (an asynchronous
      // kernel that has finished) may not wait for the pool that the blocked thread belongs to.
      runner = [caller = std::this_thread::get_id()](std::function<void()> closure) {
        if (std::this_thread::get_id() == caller) return closure();
        tensorflow::Env::Default()->SchedClosure(std::move(closure));
      };
    } else {
      runner = [first = true, pool = *context->runner()](std::function<void()> closure) mutable {
        if (!first) return pool(std::move(closure));
        first = false;
        closure();
      };
    }
    options.runner = &runner;
    inputs.reserve(context->num_inputs());
    for (int i = 0; i < context->num_inputs(); ++i) inputs.push_back(context->input(i));
  }
};

class NativeFunction {
 public:
  using FunctionLibraryRuntime = tensorflow::FunctionLibraryRuntime;

  // xla: compiled by XLA instead of run op by op.
  // ints_on_device: int32 arguments and results live in device memory, as a kernel's tensors do;
  //   functions keep them on the host otherwise.
  NativeFunction(tensorflow::NameAttrList function, bool xla, bool ints_on_device)
      : function_(std::move(function)), xla_(xla), ints_on_device_(ints_on_device) {}

  ~NativeFunction() {
    // The runtime is gone already where the whole context is being torn down.
    auto runtime = runtime_.GetNewRef();
    if (runtime == nullptr) return;
    const absl::Status status = runtime->ReleaseHandle(handle_);
    if (!status.ok()) LOG(INFO) << "releasing " << function_.name() << ": " << status;
  }

  // Thread safe; the work is done by the first caller.
  absl::Status Get(FunctionLibraryRuntime* runtime, FunctionLibraryRuntime::Handle* handle) {
    tensorflow::mutex_lock lock(mutex_);
    if (!instantiated_) {
      TF_RETURN_IF_ERROR(Instantiate(runtime));
      runtime_ = tensorflow::core::WeakPtr<FunctionLibraryRuntime>(runtime);
      instantiated_ = true;
    }
    *handle = handle_;
    return absl::OkStatus();
  }

 private:
  absl::Status Instantiate(FunctionLibraryRuntime* runtime) {
    FunctionLibraryRuntime::InstantiateOptions options;
    options.target = runtime->device()->name();
    library_ = std::make_unique<tensorflow::FunctionLibraryDefinition>(
        *runtime->GetFunctionLibraryDefinition());
    options.lib_def = library_.get();
    const tensorflow::FunctionDef* original = library_->Find(function_.name());
    if (original == nullptr) {
      return absl::NotFoundError(absl::StrCat("segment function ", function_.name(),
                                              " is not in the function library"));
    }
    tensorflow::FunctionDef caller = xla_ ? XlaCaller(*original) : Caller(*original);
    const std::string name = absl::StrCat(function_.name(), xla_ ? "_xla" : "_called");
    caller.mutable_signature()->set_name(name);
    if (ints_on_device_) {
      (*caller.mutable_attr())[tensorflow::FunctionLibraryDefinition::kIntsOnDeviceAttr]
          .set_b(true);
    }
    TF_RETURN_IF_ERROR(library_->AddFunctionDef(caller));
    return runtime->Instantiate(name, tensorflow::AttrSlice(&function_.attr()), options, &handle_);
  }

  // Calls the original as TensorFlow's own functions call each other. Run as the body itself it
  // would miss the placer, grappler and oneDNN's rewrites: other kernels, other roundings.
  // TensorFlow puts each tensor into the memory, host or device, that the call wants.
  static tensorflow::FunctionDef Caller(const tensorflow::FunctionDef& original) {
    tensorflow::FunctionDef caller;
    *caller.mutable_signature() = original.signature();
    tensorflow::NodeDef* node = caller.add_node_def();
    node->set_name("call");
    node->set_op("StatefulPartitionedCall");
    auto& attributes = *node->mutable_attr();
    attributes["f"].mutable_func()->set_name(original.signature().name());
    for (const char* name : {"config", "config_proto", "executor_type"}) attributes[name].set_s("");
    auto* inputs = attributes["Tin"].mutable_list();
    for (const auto& argument : original.signature().input_arg()) {
      node->add_input(argument.name());
      inputs->add_type(argument.type());
    }
    auto* outputs = attributes["Tout"].mutable_list();
    int index = 0;
    for (const auto& result : original.signature().output_arg()) {
      outputs->add_type(result.type());
      (*caller.mutable_ret())[result.name()] = absl::StrCat("call:output:", index++);
    }
    return caller;
  }

  // Calls the original through a node that is marked for XLA: TensorFlow makes a compiling kernel
  // of such a call.
  static tensorflow::FunctionDef XlaCaller(const tensorflow::FunctionDef& original) {
    tensorflow::FunctionDef caller = Caller(original);
    auto& attributes = *caller.mutable_node_def(0)->mutable_attr();
    for (const char* name : {"_XlaMustCompile", "_noinline"}) attributes[name].set_b(true);
    return caller;
  }

  const tensorflow::NameAttrList function_;
  const bool xla_;
  const bool ints_on_device_;
  tensorflow::mutex mutex_;
  bool instantiated_ TF_GUARDED_BY(mutex_) = false;
  FunctionLibraryRuntime::Handle handle_ = 0;
  // Outlives the handle: the runtime refers to it.
  std::unique_ptr<tensorflow::FunctionLibraryDefinition> library_;
  tensorflow::core::WeakPtr<FunctionLibraryRuntime> runtime_;
};

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_NATIVE_FUNCTION_H_
