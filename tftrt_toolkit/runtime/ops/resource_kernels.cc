// The resources that tie a loaded model to its engines.
#include "engine_resource.h"
#include "executor.h"
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

// Gives the same handle at each run: in a session, the initializer's run and the later ones must
// mean the same resource.
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

// Gives a segment the variables that its native function reads, in the order of its arguments.
class SetEngineVariables : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    ResourceHandle handle;
    OP_REQUIRES_OK(context, tensorflow::HandleFromInput(context, 0, &handle));
    const auto resource = handle.GetResource<EngineResource>();
    OP_REQUIRES_OK(context, resource.status());
    Handles variables;
    for (int i = 1; i < context->num_inputs(); ++i) variables.push_back(context->input(i));
    (*resource)->set_variables(std::move(variables));
  }
};

class InitializeResource : public OpKernel {
 public:
  explicit InitializeResource(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("max_cached_engines_count", &max_cached_));
  }
  void Compute(OpKernelContext* context) override {
    ResourceHandle handle;
    OP_REQUIRES_OK(context, tensorflow::HandleFromInput(context, 0, &handle));
    const auto resource = handle.GetResource<EngineResource>();
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
REGISTER_KERNEL_BUILDER(Name("SetTRTEngineVariables").Device(DEVICE_CPU), SetEngineVariables);
REGISTER_KERNEL_BUILDER(Name("SetTRTEngineVariables")
                            .Device(DEVICE_GPU)
                            .HostMemory("resource_handle")
                            .HostMemory("variables"),
                        SetEngineVariables);
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
