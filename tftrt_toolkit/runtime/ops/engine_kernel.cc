// TRTEngineOp's kernels: they differ in how the native function is scheduled.
#include <future>

#include "engine.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/profiler/lib/traceme.h"

namespace tftrt {

using ::tensorflow::profiler::TraceMe;

// On a CPU the native function's kernels share the inter-op threads with everyone: a kernel that
// blocked one while it waits for others could stop them all, so this one is asynchronous.
class EngineOnCpu : public tensorflow::AsyncOpKernel {
 public:
  explicit EngineOnCpu(tensorflow::OpKernelConstruction* construction)
      : AsyncOpKernel(construction), engine_(construction) {}

  void ComputeAsync(tensorflow::OpKernelContext* context, DoneCallback done) override {
    const auto start = engine_.StartTime(context);
    Engine::Way way;
    OP_REQUIRES_OK_ASYNC(context, engine_.TryExecutor(context, &way), done);
    if (way != Engine::Way::kDone) return RunNative(context, way, start, std::move(done));
    engine_.KeepTime(context, start);
    done();
  }

 private:
  void RunNative(tensorflow::OpKernelContext* context, Engine::Way way, Clock::time_point start,
                 DoneCallback done) {
    tensorflow::OpKernel* kernel = nullptr;
    const absl::Status found = engine_.GetKernel(context, way, &kernel);
    if (!found.ok()) return Failed(context, way, start, found, std::move(done));
    auto run = std::make_shared<NativeRun>(context, kernel, Scheduling::kAsStep,
                                           /*may_fail=*/way == Engine::Way::kXla);
    std::shared_ptr<const Handles> variables;
    OP_REQUIRES_OK_ASYNC(context, engine_.GetVariables(&variables), done);
    OP_REQUIRES_OK_ASYNC(context, run->Prepare(variables.get()), done);
    // Stopped by whatever thread finishes the function.
    auto range = std::make_shared<TraceMe>([&] { return engine_.Label(way); });
    NativeRun* r = run.get();
    r->Start([this, context, way, start, run = std::move(run), range, done = std::move(done)] {
      range->Stop();
      const absl::Status status = run->Finish();
      if (!status.ok()) return Failed(context, way, start, status, done);
      context->SetStatus(engine_.Finish(context, *run, way, start));
      engine_.KeepTime(context, start);
      done();
    });
  }

  void Failed(tensorflow::OpKernelContext* context, Engine::Way way, Clock::time_point start,
              const absl::Status& status, DoneCallback done) {
    if (way == Engine::Way::kXla) {
      OP_REQUIRES_OK_ASYNC(context, engine_.XlaFailed(status), done);
      return RunNative(context, Engine::Way::kNative, start, std::move(done));
    }
    context->SetStatus(status);
    done();
  }

  Engine engine_;
};

// On a GPU kernels only launch, so a synchronous one saves the two changes of thread that an
// asynchronous kernel costs: one into the function, one on to the op that follows.
class EngineOnGpu : public tensorflow::OpKernel {
 public:
  explicit EngineOnGpu(tensorflow::OpKernelConstruction* construction)
      : OpKernel(construction), engine_(construction) {}

  void Compute(tensorflow::OpKernelContext* context) override {
    const auto start = engine_.StartTime(context);
    Engine::Way way;
    OP_REQUIRES_OK(context, engine_.TryExecutor(context, &way));
    if (way != Engine::Way::kDone) {
      absl::Status status = RunNative(context, way, start);
      if (!status.ok() && way == Engine::Way::kXla) {
        OP_REQUIRES_OK(context, engine_.XlaFailed(status));
        status = RunNative(context, Engine::Way::kNative, start);
      }
      OP_REQUIRES_OK(context, status);
    }
    engine_.KeepTime(context, start);
  }

 private:
  absl::Status RunNative(tensorflow::OpKernelContext* context, Engine::Way way,
                         Clock::time_point start) {
    TraceMe range([&] { return engine_.Label(way); });
    tensorflow::OpKernel* kernel = nullptr;
    TF_RETURN_IF_ERROR(engine_.GetKernel(context, way, &kernel));
    SchedulingTrial& trial = engine_.trial(way);
    const Scheduling scheduling = trial.Next();
    NativeRun run(context, kernel, scheduling, /*may_fail=*/way == Engine::Way::kXla);
    std::shared_ptr<const Handles> variables;
    TF_RETURN_IF_ERROR(engine_.GetVariables(&variables));
    TF_RETURN_IF_ERROR(run.Prepare(variables.get()));
    std::promise<void> finished;
    run.Start([&finished] { finished.set_value(); });
    finished.get_future().wait();
    TF_RETURN_IF_ERROR(run.Finish());
    trial.Add(scheduling, NanosecondsSince(start));
    return engine_.Finish(context, run, way, start);
  }

  Engine engine_;
};

REGISTER_KERNEL_BUILDER(Name("TRTEngineOp").Device(tensorflow::DEVICE_CPU), EngineOnCpu);
REGISTER_KERNEL_BUILDER(Name("TRTEngineOp").Device(tensorflow::DEVICE_GPU), EngineOnGpu);

}  // namespace tftrt
