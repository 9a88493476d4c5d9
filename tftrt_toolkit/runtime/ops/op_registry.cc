// The ops under the names, attributes and defaults that TensorFlow dropped after 2.17. Allowed
// dtypes and precisions are a superset: newer TensorRT takes more.
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tftrt {

using ::tensorflow::PartialTensorShape;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

absl::Status EngineShapes(InferenceContext* context) {
  std::vector<PartialTensorShape> shapes;
  TF_RETURN_IF_ERROR(context->GetAttr("output_shapes", &shapes));
  for (int i = 0; i < context->num_outputs(); ++i) {
    ShapeHandle shape = context->UnknownShape();
    if (i < static_cast<int>(shapes.size())) {
      TF_RETURN_IF_ERROR(context->MakeShapeFromPartialTensorShape(shapes[i], &shape));
    }
    context->set_output(i, shape);
  }
  return absl::OkStatus();
}

}  // namespace tftrt

REGISTER_OP("TRTEngineOp")
    .Attr("serialized_segment: string")
    .Attr("segment_func: func = {}")
    .Attr(
        "InT: list({bool, int8, half, float, int32, resource, uint8, int64, bfloat16}) >= 1")
    .Attr("OutT: list({bool, int8, half, float, int32, uint8, int64, bfloat16}) >= 1")
    .Attr("input_shapes: list(shape) = []")
    .Attr("output_shapes: list(shape) = []")
    .Attr("max_cached_engines_count: int = 1")
    .Attr("max_batch_size: int = 1")
    .Attr("workspace_size_bytes: int")
    .Attr("precision_mode: {'FP32', 'FP16', 'INT8', 'BF16', 'FP8', 'INT4'}")
    .Attr("calibration_data: string = ''")
    .Attr("use_calibration: bool = true")
    .Attr("segment_funcdef_name: string = ''")
    .Attr("cached_engine_batches: list(int) >= 0 = []")
    .Attr("fixed_input_size: bool = true")
    .Attr("static_engine: bool = true")
    .Attr("profile_strategy: string = ''")
    .Attr("use_explicit_precision: bool = false")
    .Input("in_tensor: InT")
    .Output("out_tensor: OutT")
    .SetShapeFn(tftrt::EngineShapes);

REGISTER_OP("CreateTRTResourceHandle")
    .Attr("resource_name: string")
    .Output("resource_handle: resource")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::ScalarShape);

REGISTER_OP("InitializeTRTResource")
    .Attr("max_cached_engines_count: int = 1")
    .Input("resource_handle: resource")
    .Input("filename: string")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs);

// Not of stock TF-TRT, whose engines hold constants: for as long as the resource lives, it has the
// variables of its native function kept, those that the next op gives.
REGISTER_OP("HoldTRTEngineVariables")
    .Attr("segment_func: func")
    .Input("resource_handle: resource")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs);

REGISTER_OP("KeepTRTEngineVariable")
    .Attr("segment_func: func")
    .Attr("index: int >= 0")
    .Attr("count: int >= 1")
    .Input("variable: resource")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs);

REGISTER_OP("SerializeTRTResource")
    .Attr("delete_resource: bool = false")
    .Attr("save_gpu_specific_engines: bool = true")
    .Input("resource_name: string")
    .Input("filename: string")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs);

REGISTER_OP("GetCalibrationDataOp")
    .Input("resource_name: string")
    .Output("serialized_resource: string")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::ScalarShape);
