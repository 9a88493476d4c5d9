// The resources that tie a loaded model to its engines.
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "executor.h"
#include "kept_variables.h"
#include "slots.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_handle.h"
#include "tensorflow/core/framework/resource_mgr.h"

namespace tftrt {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::DEVICE_GPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::ResourceHandle;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::tstring;

// What a handle stands for: a segment of a loaded model. Its name is the one under which engines
// are found, and all loads of a model share it. Whether an executor is still needed is not told by
// handles, for stock TF-TRT's models keep none, but by kernels.
class EngineResource : public tensorflow::ResourceBase {
 public:
  explicit EngineResource(std::string name) : name(std::move(name)) {}
  std::string DebugString() const override { return "TRTEngineOp resource " + name; }

  // From now on, and for as long as this lives, the variables of its native function may be kept.
  void Hold(const std::string& function) {
    auto variables = std::make_unique<KeptVariables>(function);
    std::lock_guard<std::mutex> lock(mutex_);
    variables_.swap(variables);
  }

  const std::string name;

 private:
  std::mutex mutex_;
  std::unique_ptr<KeptVariables> variables_;
};

namespace {

// What a kernel's first input stands for, which keeps it alive.
absl::StatusOr<EngineResource*> FirstInput(OpKernelContext* context) {
  ResourceHandle handle;
  TF_RETURN_IF_ERROR(tensorflow::HandleFromInput(context, 0, &handle));
  return handle.GetResource<EngineResource>();
}

}  // namespace

// Gives the same handle at each run: a session runs it for the initializer and for each call.
class CreateResourceHandle : public OpKernel {
 public:
  explicit CreateResourceHandle(OpKernelConstruction* construction) : OpKernel(construction) {
    std::string name;
    OP_REQUIRES_OK(construction, construction->GetAttr("resource_name", &name));
    handle_ = ResourceHandle::MakeRefCountingHandle(
        new EngineResource(std::move(name)), construction->device()->attributes().name());
  }
  void Compute(OpKernelContext* context) override {
    Tensor* output = nullptr;
    tensorflow::AllocatorAttributes host;
    host.set_on_host(true);
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({}), &output, host));
    output->scalar<ResourceHandle>()() = handle_;
  }

 private:
  ResourceHandle handle_;
};

class HoldEngineVariables : public OpKernel {
 public:
  explicit HoldEngineVariables(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("segment_func", &function_));
  }
  void Compute(OpKernelContext* context) override {
    const auto resource = FirstInput(context);
    OP_REQUIRES_OK(context, resource.status());
    (*resource)->Hold(function_.name());
  }

 private:
  tensorflow::NameAttrList function_;
};

// One variable each, for an op's handles must all be of one device.
class KeepEngineVariable : public OpKernel {
 public:
  explicit KeepEngineVariable(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("segment_func", &function_));
    OP_REQUIRES_OK(construction, construction->GetAttr("index", &index_));
    OP_REQUIRES_OK(construction, construction->GetAttr("count", &count_));
  }
  void Compute(OpKernelContext* context) override {
    context->SetStatus(KeepVariable(function_.name(), index_, count_, context->input(0)));
  }

 private:
  tensorflow::NameAttrList function_;
  int32_t index_ = 0;
  int32_t count_ = 0;
};

class InitializeResource : public OpKernel {
 public:
  explicit InitializeResource(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("max_cached_engines_count", &max_cached_));
  }
  void Compute(OpKernelContext* context) override {
    const auto resource = FirstInput(context);
    OP_REQUIRES_OK(context, resource.status());
    const Tensor& filename = context->input(1);
    OP_REQUIRES(context, tensorflow::TensorShapeUtils::IsScalar(filename.shape()),
                absl::InvalidArgumentError("filename must be a scalar"));
    PythonCall python;
    if (!python || callbacks().initialize == nullptr) return;
    char message[512] = "";
    const int32_t status = callbacks().initialize(
        (*resource)->name.c_str(), std::string(filename.scalar<tstring>()()).c_str(),
        max_cached_, message, sizeof(message));
    OP_REQUIRES(context, status == kTftrtOk, absl::FailedPreconditionError(message));
  }

 private:
  int64_t max_cached_ = 1;
};

class SerializeResource : public OpKernel {
 public:
  explicit SerializeResource(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("delete_resource", &delete_));
  }
  void Compute(OpKernelContext* context) override {
    const std::string resource(context->input(0).scalar<tstring>()());
    const std::string filename(context->input(1).scalar<tstring>()());
    PythonCall python;
    OP_REQUIRES(context, python && callbacks().serialize != nullptr,
                absl::UnavailableError("tftrt_toolkit is not imported, or Python is exiting"));
    char message[512] = "";
    const int32_t status =
        callbacks().serialize(resource.c_str(), filename.c_str(), message, sizeof(message));
    OP_REQUIRES(context, status == kTftrtOk, absl::NotFoundError(message));
    if (delete_) GetSlot(resource)->Unbind();
  }

 private:
  bool delete_ = false;
};

// The stock converter asks for TensorRT's calibration table here. Calibration is written into the
// ONNX nowadays, so no resource has one.
class GetCalibrationData : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    context->SetStatus(absl::NotFoundError(absl::StrCat(
        "no calibration table for ", std::string(context->input(0).scalar<tstring>()()),
        ": TensorRT 10 and later take the ranges from the segment's ONNX")));
  }
};

REGISTER_KERNEL_BUILDER(Name("CreateTRTResourceHandle").Device(DEVICE_CPU), CreateResourceHandle);
REGISTER_KERNEL_BUILDER(
    Name("CreateTRTResourceHandle").Device(DEVICE_GPU).HostMemory("resource_handle"),
    CreateResourceHandle);
REGISTER_KERNEL_BUILDER(Name("InitializeTRTResource").Device(DEVICE_CPU), InitializeResource);
REGISTER_KERNEL_BUILDER(Name("InitializeTRTResource")
                            .Device(DEVICE_GPU)
                            .HostMemory("resource_handle")
                            .HostMemory("filename"),
                        InitializeResource);
REGISTER_KERNEL_BUILDER(Name("HoldTRTEngineVariables").Device(DEVICE_CPU), HoldEngineVariables);
REGISTER_KERNEL_BUILDER(
    Name("HoldTRTEngineVariables").Device(DEVICE_GPU).HostMemory("resource_handle"),
    HoldEngineVariables);
REGISTER_KERNEL_BUILDER(Name("KeepTRTEngineVariable").Device(DEVICE_CPU), KeepEngineVariable);
REGISTER_KERNEL_BUILDER(
    Name("KeepTRTEngineVariable").Device(DEVICE_GPU).HostMemory("variable"), KeepEngineVariable);
REGISTER_KERNEL_BUILDER(Name("SerializeTRTResource").Device(DEVICE_CPU), SerializeResource);
REGISTER_KERNEL_BUILDER(
    Name("SerializeTRTResource").Device(DEVICE_GPU).HostMemory("resource_name").HostMemory("filename"),
    SerializeResource);
REGISTER_KERNEL_BUILDER(Name("GetCalibrationDataOp").Device(DEVICE_CPU), GetCalibrationData);
REGISTER_KERNEL_BUILDER(Name("GetCalibrationDataOp")
                            .Device(DEVICE_GPU)
                            .HostMemory("resource_name")
                            .HostMemory("serialized_resource"),
                        GetCalibrationData);

}  // namespace tftrt
