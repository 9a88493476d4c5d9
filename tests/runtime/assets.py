"""Assets of small segments, and SavedModels that hold them."""

import onnx
import tensorflow as tf
from onnx import TensorProto, helper
from tensorflow.python.trackable import asset as trackable_asset
from tensorflow.python.trackable import resource as trackable_resource

from tftrt_toolkit.artifacts import OnnxModel, SegmentAsset, TensorSpec, TypedOnnx
from tftrt_toolkit.asset import AssetFile, write_asset
from tftrt_toolkit.runtime import ops

SPECS = (
    TensorSpec("x:0", tf.float32, tf.TensorShape([None, 4])),
    TensorSpec("n:0", tf.int32, tf.TensorShape([])),
)


def double_plus_onnx(factor=2.0):
    """The ONNX of `engines.double_plus`; another factor tells the executors apart."""
    nodes = [
        helper.make_node("Mul", ["x:0", "factor"], ["scaled"]),
        helper.make_node("Cast", ["n:0"], ["float_n"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["scaled", "float_n"], ["y:0"]),
        helper.make_node("Add", ["n:0", "one"], ["m:0"]),
    ]
    return TypedOnnx(OnnxModel(model(nodes, factor), {}), "FP32")


def model(nodes, factor):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "segment",
        [value("x:0", TensorProto.FLOAT, ["N", 4]), value("n:0", TensorProto.INT32, [])],
        [value("y:0", TensorProto.FLOAT, ["N", 4]), value("m:0", TensorProto.INT32, [])],
        [
            helper.make_tensor("factor", TensorProto.FLOAT, [], [factor]),
            helper.make_tensor("one", TensorProto.INT32, [], [1]),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=min(onnx.IR_VERSION, 10)
    )


def double_plus_asset(path, *, factor=2.0, plans=()):
    outputs = (
        TensorSpec("y:0", tf.float32, tf.TensorShape([None, 4])),
        TensorSpec("m:0", tf.int32, tf.TensorShape([])),
    )
    write_asset(path, SegmentAsset("segment", SPECS, outputs, double_plus_onnx(factor), plans))
    return AssetFile.open(path)


class EngineResource(trackable_resource.TrackableResource):
    """Ties a SavedModel to a segment's asset, as the converter does."""

    def __init__(self, name, asset):
        super().__init__()
        self.name = name
        self.asset = self._track_trackable(trackable_asset.Asset(str(asset)), "asset")
        self._resource_handle = self._create_resource()

    def _create_resource(self):
        return ops.create_trt_resource_handle(resource_name=self.name)

    def _initialize(self):
        ops.initialize_trt_resource(self.resource_handle, self.asset.asset_path)


class StockEngineResource(EngineResource):
    """As stock TF-TRT writes it: the initializer makes a handle of its own and keeps none."""

    def __init__(self, name, asset):
        super().__init__(name, asset)
        self._resource_handle = None

    def _destroy_resource(self):
        tf.raw_ops.DestroyResourceOp(resource=self._create_resource(), ignore_lookup_error=True)


def save(directory, model, name, asset, resource=EngineResource):
    """A SavedModel of a tf.function with one engine, whose resource is `name`."""
    module = tf.Module()
    module.serve = model
    module.resource = resource(name, asset)
    tf.saved_model.save(module, str(directory), signatures={"serving_default": signature(model)})
    return directory


def signature(model):
    @tf.function(input_signature=model.input_signature)
    def serving_default(*inputs):
        y, m = model(*inputs)
        return {"y": y, "m": m}

    return serving_default
