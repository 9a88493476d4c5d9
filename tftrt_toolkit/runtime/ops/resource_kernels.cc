// The resources that tie a loaded model to its engines.
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

constexpr char kContainer[] = "TF-TRT";

// The loads of a model, as far as one segment goes: the resource that its handle names.
//
// A model that is dropped destroys the resource by its name, whichever load it came from. So each
// destruction counts as one load less, and the resource comes back as long as any is left.
class Loads : public tensorflow::ResourceBase {
 public:
  Loads(std::shared_ptr<Slot> slot, tensorflow::ResourceMgr* manager)
      : slot_(std::move(slot)), manager_(manager) {}

  ~Loads() override {
    if (registered_ && slot_->DropLoad() > 0) Register(slot_, manager_);
    SweepSlot(std::move(slot_));
  }

  static void Register(const std::shared_ptr<Slot>& slot, tensorflow::ResourceMgr* manager) {
    auto* loads = new Loads(slot, manager);
    const tensorflow::core::ScopedUnref unref(loads);
    loads->Ref();  // the manager's, whether it takes it or not
    loads->registered_ = true;
    if (!manager->Create(kContainer, slot->resource, loads).ok()) loads->registered_ = false;
  }

  std::string DebugString() const override { return "TRTEngineOp resource " + slot_->resource; }

 private:
  std::shared_ptr<Slot> slot_;
  tensorflow::ResourceMgr* const manager_;
  std::atomic<bool> registered_{false};
};

class CreateResourceHandle : public OpKernel {
 public:
  explicit CreateResourceHandle(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("resource_name", &resource_));
  }
  void Compute(OpKernelContext* context) override {
    Tensor* output = nullptr;
    tensorflow::AllocatorAttributes host;
    host.set_on_host(true);
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({}), &output, host));
    output->scalar<ResourceHandle>()() =
        tensorflow::MakeResourceHandle<Loads>(context, kContainer, resource_);
  }

 private:
  std::string resource_;
};

class InitializeResource : public OpKernel {
 public:
  explicit InitializeResource(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("max_cached_engines_count", &max_cached_));
  }
  void Compute(OpKernelContext* context) override {
    ResourceHandle handle;
    OP_REQUIRES_OK(context, tensorflow::HandleFromInput(context, 0, &handle));
    OP_REQUIRES_OK(context, handle.ValidateType<Loads>());
    const Tensor& filename = context->input(1);
    OP_REQUIRES(context, tensorflow::TensorShapeUtils::IsScalar(filename.shape()),
                absl::InvalidArgumentError("filename must be a scalar"));
    auto slot = GetSlot(handle.name());
    slot->AddLoad();
    Loads::Register(slot, context->resource_manager());
    PythonCall python;
    if (!python || callbacks().initialize == nullptr) return;
    char message[512] = "";
    const int32_t status = callbacks().initialize(
        slot->resource.c_str(), std::string(filename.scalar<tstring>()()).c_str(),
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
