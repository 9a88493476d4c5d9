from pathlib import Path

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.framework import op_def_registry

from tests.runtime.engines import double_plus, engine, model_of, new_resource
from tftrt_toolkit import runtime
from tftrt_toolkit.runtime import ops

GOLDEN = Path(__file__).parent / "golden" / "stock_ops_tf217.pbtxt"

# What ours takes beyond the stock ops.
WIDER = {
    ("TRTEngineOp", "InT"): {tf.uint8, tf.int64, tf.bfloat16},
    ("TRTEngineOp", "OutT"): {tf.uint8, tf.int64, tf.bfloat16},
    ("TRTEngineOp", "precision_mode"): {b"BF16", b"FP8", b"INT4"},
}


def stock_ops():
    return text_format.Parse(GOLDEN.read_text(), op_def_pb2.OpList()).op


def allowed(attr):
    values = attr.allowed_values.list
    return {tf.as_dtype(dtype) for dtype in values.type} | set(values.s)


def without_allowed(attr):
    bare = type(attr)()
    bare.CopyFrom(attr)
    bare.ClearField("allowed_values")
    return bare


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    runtime.load_ops()


@pytest.mark.parametrize("stock", stock_ops(), ids=lambda op: op.name)
def test_ops_are_those_of_stock_tensorflow(stock):
    ours = op_def_registry.get(stock.name)
    assert list(ours.input_arg) == list(stock.input_arg)
    assert list(ours.output_arg) == list(stock.output_arg)
    assert ours.is_stateful == stock.is_stateful
    mine = {attr.name: attr for attr in ours.attr}
    assert list(mine) == [attr.name for attr in stock.attr]
    for attr in stock.attr:
        assert without_allowed(mine[attr.name]) == without_allowed(attr)
        wider = allowed(mine[attr.name]) - allowed(attr)
        assert wider == WIDER.get((stock.name, attr.name), set())
        assert allowed(attr) <= allowed(mine[attr.name])


def test_loading_again_is_harmless():
    first = op_def_registry.get("TRTEngineOp")
    runtime.load_ops()
    assert op_def_registry.get("TRTEngineOp") is first


def test_an_engine_without_executor_runs_natively():
    model = model_of(double_plus(), new_resource())
    y, n = model(tf.ones([3, 4]), 5)
    assert y.numpy().tolist() == [[7.0] * 4] * 3
    assert n.numpy() == 6


def test_output_shapes_are_inferred_from_the_attribute():
    function = model_of(double_plus(), new_resource()).get_concrete_function()
    assert [tensor.shape.as_list() for tensor in function.outputs] == [[None, 4], []]


def test_too_few_output_shapes_leave_the_rest_unknown():
    with tf.Graph().as_default():
        outputs = ops.trt_engine_op(
            in_tensor=[tf.compat.v1.placeholder(tf.float32)],
            serialized_segment="",
            OutT=[tf.float32, tf.int32],
            workspace_size_bytes=1,
            precision_mode="FP32",
            output_shapes=[[None, 4]],
        )
    assert [tensor.shape.rank for tensor in outputs] == [2, None]


def test_variables_reach_the_native_function_by_their_handles():
    variable = tf.Variable([1.0, 2.0])

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([], tf.resource)], autograph=False
    )
    def segment(x, handle):
        return x * tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)

    native = segment.get_concrete_function()
    resource = new_resource()

    @tf.function
    def model(x):
        return engine([x, variable.handle], native, resource)[0]

    assert model(tf.ones([1, 2])).numpy().tolist() == [[1.0, 2.0]]
    variable.assign([3.0, 4.0])
    assert model(tf.ones([1, 2])).numpy().tolist() == [[3.0, 4.0]]


def test_an_error_inside_the_native_function_is_the_ops_error():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)], autograph=False)
    def segment(x):
        return tf.raw_ops.CheckNumerics(tensor=x, message="not finite here")

    model = model_of(segment.get_concrete_function(), new_resource())
    with pytest.raises(tf.errors.InvalidArgumentError, match="not finite here"):
        model(tf.constant([float("nan")]))
    assert model(tf.constant([1.0]))[0].numpy().tolist() == [1.0]


def test_calibration_data_is_refused_with_the_reason():
    with pytest.raises(tf.errors.NotFoundError, match="no calibration table for engine_a"):
        ops.get_calibration_data_op("engine_a")


def test_unknown_op_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'engine_op'"):
        _ = ops.engine_op
