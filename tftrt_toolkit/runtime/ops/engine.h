// What TRTEngineOp does, whichever way its kernel is scheduled.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_ENGINE_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_ENGINE_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "executor.h"
#include "kept_variables.h"
#include "native_function.h"
#include "slots.h"
#include "tensor_views.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tftrt {

using Clock = std::chrono::steady_clock;

inline int64_t NanosecondsSince(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

class Engine {
 public:
  // How a call goes on: not at all, or by the native function, run op by op or compiled by XLA.
  enum class Way { kDone, kNative, kXla };

  explicit Engine(tensorflow::OpKernelConstruction* construction);
  ~Engine();

  // Runs the bound executor, or says how to run the segment instead. An error only in the strict
  // mode.
  absl::Status TryExecutor(tensorflow::OpKernelContext* context, Way* way);

  // The kernel that runs the native function that way.
  absl::Status GetKernel(tensorflow::OpKernelContext* context, Way way,
                         tensorflow::OpKernel** kernel);
  SchedulingTrial& trial(Way way) { return function(way).trial; }

  // The variables that the native function reads, where they aren't inputs; else null.
  absl::Status GetVariables(std::shared_ptr<const Handles>* variables) const;

  // The native function was run: hands its outputs on, counts the call, tells observers of it.
  absl::Status Finish(tensorflow::OpKernelContext* context, const NativeRun& run, Way way,
                      Clock::time_point start);

  // XLA couldn't compile or run the segment: it runs op by op from now on.
  absl::Status XlaFailed(const absl::Status& status);

  // How TensorFlow's profiler names a call.
  std::string Label(const std::string& executor) const;
  std::string Label(Way way) const { return Label(way == Way::kXla ? "xla" : "native"); }

  // The present, once the device is idle if calls are being timed.
  Clock::time_point StartTime(tensorflow::OpKernelContext* context) const;
  // Keeps the time since then, if calls are being timed.
  void KeepTime(tensorflow::OpKernelContext* context, Clock::time_point start) const;

 private:
  NativeFunction& function(Way way) { return way == Way::kXla ? *xla_ : *native_; }
  bool observed() const { return slot_->observers.load(std::memory_order_relaxed) > 0; }
  bool IsOwnInput(size_t index, const tensorflow::Tensor& tensor) const;
  TftrtStatus Execute(tensorflow::OpKernelContext* context, Binding& binding, TftrtCall* call,
                      Way* way);
  PlanKey DescribeInputs(tensorflow::OpKernelContext* context, TftrtCall* call) const;
  // Adds views on the inputs, in device memory where the engine is on a GPU.
  absl::Status AddInputs(tensorflow::OpKernelContext* context, TftrtCall* call,
                         TensorViews* inputs) const;
  TftrtStatus AllocateKnown(tensorflow::OpKernelContext* context, const Plan& plan,
                            tensorflow::Tensor* scratch, TftrtCall* call) const;
  absl::Status FallBack(const std::shared_ptr<Binding>& binding, TftrtStatus status,
                        const std::string& message);
  // Says once that the plan inside of a TensorFlow 1 graph isn't run.
  void SetInlineEngineAside();
  // A native run that nobody asked for: an error in the strict mode.
  absl::Status Unwanted(const std::string& reason) const;
  absl::Status TellObservers(tensorflow::OpKernelContext* context, const NativeRun& run);
  absl::Status AddOnHost(tensorflow::OpKernelContext* context, const tensorflow::Tensor& tensor,
                         tensorflow::MemoryType memory, TensorViews* views) const;
  void WaitForDevice(tensorflow::OpKernelContext* context) const;

  std::shared_ptr<Slot> slot_;
  std::unique_ptr<NativeFunction> native_;
  std::unique_ptr<NativeFunction> xla_;
  size_t own_inputs_ = 0;
  bool on_gpu_ = false;
  bool has_native_ = true;
  std::string variables_of_;  // the name that they are kept under, if they aren't inputs
  bool allow_build_ = true;
  bool allow_native_ = true;
  std::atomic<bool> has_inline_engine_{false};  // until that was said
};

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_ENGINE_H_
