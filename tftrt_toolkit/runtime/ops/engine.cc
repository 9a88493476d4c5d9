#include "engine.h"

#include <cstdio>

#include "device_memory.h"
#include "tensorflow/core/profiler/lib/traceme.h"
#include "tensorflow/core/util/env_var.h"

namespace tftrt {

using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

namespace {

constexpr int kMessageBytes = 512;

void Count(std::atomic<int64_t>& counter, int64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

TftrtStatus Refuse(TftrtCall* call, TftrtStatus status, const absl::Status& why) {
  std::snprintf(call->message, call->message_bytes, "%s", std::string(why.message()).c_str());
  return status;
}

// TftrtCall::allocate.
void* AllocateOutput(TftrtCall* call, int32_t index, int32_t rank, const int64_t* dims) {
  auto* context = static_cast<OpKernelContext*>(call->context);
  TensorShape shape;
  Tensor* output = nullptr;
  TftrtTensor& view = call->outputs[index];
  delete context->release_output(index).tensor;  // of an earlier try
  if (!tensorflow::TensorShapeUtils::MakeShape(dims, rank, &shape).ok() ||
      !context->allocate_output(index, shape, &output).ok()) {
    view.bytes = -1;  // tells a failure from an empty tensor, which may have no address either
    return nullptr;
  }
  view.data = output->data();
  view.bytes = static_cast<int64_t>(output->TotalBytes());
  view.rank = rank;
  return view.data;
}

}  // namespace

Engine::Engine(OpKernelConstruction* construction) {
  std::string resource;
  std::vector<tensorflow::PartialTensorShape> input_shapes;
  tensorflow::NameAttrList function;
  OP_REQUIRES_OK(construction, construction->GetAttr("input_shapes", &input_shapes));
  OP_REQUIRES_OK(construction, construction->GetAttr("segment_func", &function));
  OP_REQUIRES_OK(construction, construction->GetAttr("segment_funcdef_name", &resource));
  if (construction->HasAttr("_allow_build_at_runtime")) {
    OP_REQUIRES_OK(construction, construction->GetAttr("_allow_build_at_runtime", &allow_build_));
  }
  if (construction->HasAttr("_variables_kept")) {
    tensorflow::NameAttrList keeper;
    OP_REQUIRES_OK(construction, construction->GetAttr("_variables_kept", &keeper));
    variables_of_ = keeper.name();
  }
  OP_REQUIRES_OK(construction, tensorflow::ReadBoolFromEnvVar(
                                   "TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION",
                                   /*default_val=*/true, &allow_native_));
  // The segment's own inputs come first; what its weights are read from follows.
  own_inputs_ = input_shapes.size();
  // Models that stock TF-TRT converted name the resource by the node's last path component; up to
  // TensorFlow 1.14 they name the native function here.
  if (resource.find('@') == std::string::npos) {
    if (function.name().empty()) function.set_name(resource);
    const std::string& node = construction->def().name();
    resource = node.substr(node.rfind('/') + 1);
    own_inputs_ = construction->num_inputs();
  }
  has_native_ = !function.name().empty();
  std::string inline_engine;
  bool is_engine;  // else the segment's graph, for an engine to be built from
  OP_REQUIRES_OK(construction, construction->GetAttr("serialized_segment", &inline_engine));
  OP_REQUIRES_OK(construction, construction->GetAttr("static_engine", &is_engine));
  has_inline_engine_ = is_engine && !inline_engine.empty();
  slot_ = GetSlot(resource);
  slot_->AddKernel();
  on_gpu_ = construction->device_type() == tensorflow::DeviceType(tensorflow::DEVICE_GPU);
  native_ = std::make_unique<NativeFunction>(function, /*xla=*/false);
  xla_ = std::make_unique<NativeFunction>(function, /*xla=*/true);
}

Engine::~Engine() {
  if (slot_ != nullptr) LeaveSlot(std::move(slot_));
}

absl::Status Engine::TryExecutor(OpKernelContext* context, Way* way) {
  *way = Way::kNative;
  if (observed()) return absl::OkStatus();
  const std::shared_ptr<Binding> binding = slot_->binding();
  if (binding == nullptr) {
    if (has_inline_engine_.exchange(false)) SetInlineEngineAside();
    return Unwanted(slot_->reason());
  }
  if (binding->mode != kTftrtExecutor) {
    if (binding->mode == kTftrtXla) *way = Way::kXla;
    return absl::OkStatus();
  }
  PythonCall python;
  if (!python) return absl::OkStatus();  // the process is exiting
  const auto start = Clock::now();
  tensorflow::profiler::TraceMe range([&] { return Label(binding->label); });
  char message[kMessageBytes] = "";
  TftrtCall call{};
  call.message = message;
  call.message_bytes = sizeof(message);
  const TftrtStatus status = Execute(context, *binding, &call, way);
  if (status != kTftrtOk) {
    // What the executor was given for its outputs; the native function brings its own.
    for (int i = 0; i < context->num_outputs(); ++i) delete context->release_output(i).tensor;
    return FallBack(binding, status, message);
  }
  if (*way == Way::kDone) {
    Count(slot_->counters.calls);
    Count(slot_->counters.nanoseconds, NanosecondsSince(start));
  }
  return absl::OkStatus();
}

TftrtStatus Engine::Execute(OpKernelContext* context, Binding& binding, TftrtCall* call, Way* way) {
  TensorViews inputs;
  PlanKey key = DescribeInputs(context, call);
  const absl::Status described = AddInputs(context, call, &inputs);
  if (!described.ok()) return Refuse(call, kTftrtDeclined, described);
  absl::InlinedVector<TftrtTensor, 4> outputs(context->num_outputs(), TftrtTensor{});
  for (int i = 0; i < context->num_outputs(); ++i) {
    outputs[i].dtype = static_cast<int32_t>(context->expected_output_dtype(i));
  }
  call->num_outputs = context->num_outputs();
  call->outputs = outputs.data();
  call->context = context;
  call->allocate = AllocateOutput;
  std::shared_ptr<const Plan> plan;
  TftrtStatus status = binding.Prepare(std::move(key), call, &plan);
  if (status != kTftrtOk) return status;
  if (plan->mode != kTftrtExecutor) {
    *way = plan->mode == kTftrtXla ? Way::kXla : Way::kNative;
    return kTftrtOk;
  }
  Tensor scratch;
  status = AllocateKnown(context, *plan, &scratch, call);
  if (status != kTftrtOk) return status;
  status = static_cast<TftrtStatus>(binding.executor.enqueue(plan->token, call));
  if (status != kTftrtOk) return status;
  for (int i = 0; i < call->num_outputs; ++i) {
    if (context->mutable_output(i) == nullptr) {
      return Refuse(call, kTftrtFailed,
                    absl::InternalError(absl::StrCat("output ", i, " was not written")));
    }
  }
  *way = Way::kDone;
  return kTftrtOk;
}

PlanKey Engine::DescribeInputs(OpKernelContext* context, TftrtCall* call) const {
  call->device = -1;
  call->allow_build = allow_build_;
  if (on_gpu_) {
    auto* stream = context->op_device_context()->stream();
    call->device = stream->parent()->device_ordinal();
    call->stream = stream->platform_specific_handle().stream;
    RememberDevice(call->device, context, stream);
  }
  PlanKey key{call->device, reinterpret_cast<int64_t>(call->stream)};
  for (int i = 0; i < context->num_inputs(); ++i) {
    const Tensor& tensor = context->input(i);
    if (!IsOwnInput(i, tensor)) continue;
    key.push_back(tensor.dims());
    for (int d = 0; d < tensor.dims(); ++d) key.push_back(tensor.dim_size(d));
  }
  return key;
}

absl::Status Engine::AddInputs(OpKernelContext* context, TftrtCall* call,
                               TensorViews* inputs) const {
  for (int i = 0; i < context->num_inputs(); ++i) {
    Tensor tensor = context->input(i);
    if (!IsOwnInput(i, tensor)) continue;
    if (on_gpu_ && context->input_memory_type(i) == tensorflow::HOST_MEMORY) {
      TF_RETURN_IF_ERROR(CopyToDevice(context, context->input(i), &tensor));
    }
    inputs->Add(tensor);
  }
  call->num_inputs = inputs->size();
  call->inputs = inputs->Finish();
  return absl::OkStatus();
}

// Declines where memory is short: TensorFlow needs less at once, op by op.
TftrtStatus Engine::AllocateKnown(OpKernelContext* context, const Plan& plan, Tensor* scratch,
                                  TftrtCall* call) const {
  if (plan.scratch_bytes > 0) {
    // TensorFlow would try again for ten seconds; the native function is there at once.
    const tensorflow::AllocationAttributes once(/*retry_on_failure=*/false,
                                                /*allocation_will_be_logged=*/false, nullptr);
    const absl::Status status =
        context->allocate_temp(tensorflow::DT_UINT8, TensorShape({plan.scratch_bytes}), scratch,
                               tensorflow::AllocatorAttributes(), once);
    if (!status.ok()) return Refuse(call, kTftrtDeclined, status);
    call->scratch = scratch->data();
    call->scratch_bytes = plan.scratch_bytes;
  }
  for (int i = 0; i < call->num_outputs; ++i) {
    if (!plan.outputs[i].known) continue;
    const auto& dims = plan.outputs[i].dims;
    AllocateOutput(call, i, static_cast<int32_t>(dims.size()), dims.data());
    if (call->outputs[i].bytes < 0) {
      return Refuse(call, kTftrtDeclined,
                    absl::ResourceExhaustedError(absl::StrCat("no memory for output ", i)));
    }
    call->outputs[i].dims = dims.data();
  }
  return kTftrtOk;
}

void Engine::SetInlineEngineAside() {
  const char* reason = "its engine in the graph is for an older TensorRT: convert the model";
  PythonCall python;
  if (slot_->SetReason(reason) && python && callbacks().fell_back != nullptr) {
    callbacks().fell_back(slot_->resource.c_str(), "stock TF-TRT", kTftrtFailed, reason);
  }
}

absl::Status Engine::FallBack(const std::shared_ptr<Binding>& binding, TftrtStatus status,
                              const std::string& message) {
  Count(status == kTftrtDeclined ? slot_->counters.declined : slot_->counters.failed);
  if (status != kTftrtDeclined) slot_->Retire(binding);
  if (slot_->SetReason(message)) {  // repeated reasons are told once
    PythonCall python;
    if (python && callbacks().fell_back != nullptr) {
      callbacks().fell_back(slot_->resource.c_str(), binding->label.c_str(), status,
                            message.c_str());
    }
  }
  return Unwanted(message);
}

absl::Status Engine::XlaFailed(const absl::Status& status) {
  const std::shared_ptr<Binding> binding = slot_->binding();
  if (binding == nullptr || absl::IsCancelled(status)) return status;
  return FallBack(binding, kTftrtFailed, std::string(status.message()));
}

absl::Status Engine::Unwanted(const std::string& reason) const {
  if (allow_native_ && !strict()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(slot_->resource, " would run natively, which the strict mode forbids: ",
                   reason.empty() ? "no executor is bound" : reason));
}

std::string Engine::Label(const std::string& executor) const {
  return absl::StrCat(slot_->resource, " [", executor, "]");
}

absl::Status Engine::GetKernel(OpKernelContext* context, Way way, tensorflow::OpKernel** kernel) {
  if (!has_native_) {
    return absl::FailedPreconditionError(
        absl::StrCat(slot_->resource, " can't run: the model was saved without native segments, ",
                     "and no engine of it fits here: convert the original model again"));
  }
  return function(way).Get(context->function_library(), kernel);
}

absl::Status Engine::GetVariables(std::shared_ptr<const Handles>* variables) const {
  if (variables_of_.empty()) return absl::OkStatus();
  *variables = VariablesOf(variables_of_);
  if (*variables != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(slot_->resource, " has no variables: the model's initializer wasn't run"));
}

absl::Status Engine::Finish(OpKernelContext* context, const NativeRun& run, Way way,
                            Clock::time_point start) {
  if (run.outputs.size() != static_cast<size_t>(context->num_outputs())) {
    return absl::InternalError(absl::StrCat(slot_->resource, ": the native function gave ",
                                            run.outputs.size(), " outputs, the op has ",
                                            context->num_outputs()));
  }
  if (observed()) TF_RETURN_IF_ERROR(TellObservers(context, run));
  for (size_t i = 0; i < run.outputs.size(); ++i) {
    context->set_output(static_cast<int>(i), run.outputs[i]);
  }
  Counters& counters = slot_->counters;
  Count(way == Way::kXla ? counters.calls : counters.native_calls);
  Count(way == Way::kXla ? counters.nanoseconds : counters.native_nanoseconds,
        NanosecondsSince(start));
  return absl::OkStatus();
}

bool Engine::IsOwnInput(size_t index, const Tensor& tensor) const {
  return index < own_inputs_ && tensor.dtype() != tensorflow::DT_RESOURCE;
}

absl::Status Engine::TellObservers(OpKernelContext* context, const NativeRun& run) {
  TensorViews inputs, outputs;
  for (int i = 0; i < context->num_inputs(); ++i) {
    if (!IsOwnInput(i, context->input(i))) continue;
    TF_RETURN_IF_ERROR(
        AddOnHost(context, context->input(i), context->input_memory_type(i), &inputs));
  }
  for (const Tensor& tensor : run.outputs) {
    TF_RETURN_IF_ERROR(AddOnHost(context, tensor, tensorflow::DEVICE_MEMORY, &outputs));
  }
  TftrtCall call{};
  call.device = -1;
  call.inputs = inputs.Finish();
  call.num_inputs = inputs.size();
  call.outputs = outputs.Finish();
  call.num_outputs = outputs.size();
  Count(slot_->counters.observed);
  PythonCall python;
  if (python && callbacks().observed != nullptr) {
    callbacks().observed(slot_->resource.c_str(), &call);
  }
  return absl::OkStatus();
}

absl::Status Engine::AddOnHost(OpKernelContext* context, const Tensor& tensor,
                               tensorflow::MemoryType memory, TensorViews* views) const {
  if (!on_gpu_ || memory == tensorflow::HOST_MEMORY) {
    views->Add(tensor);
    return absl::OkStatus();
  }
  Tensor host(tensor.dtype(), tensor.shape());
  TF_RETURN_IF_ERROR(context->op_device_context()->CopyDeviceTensorToCPUSync(
      &tensor, slot_->resource, static_cast<tensorflow::Device*>(context->device()), &host));
  views->Add(host);
  return absl::OkStatus();
}

Clock::time_point Engine::StartTime(OpKernelContext* context) const {
  if (slot_->timed) WaitForDevice(context);
  return Clock::now();
}

void Engine::KeepTime(OpKernelContext* context, Clock::time_point start) const {
  if (!slot_->timed) return;
  WaitForDevice(context);
  slot_->AddTime(static_cast<double>(NanosecondsSince(start)) / 1e9);
}

void Engine::WaitForDevice(OpKernelContext* context) const {
  if (!on_gpu_) return;
  const absl::Status status = context->op_device_context()->stream()->BlockHostUntilDone();
  if (!status.ok()) LOG(ERROR) << slot_->resource << ": " << status;
}

}  // namespace tftrt
