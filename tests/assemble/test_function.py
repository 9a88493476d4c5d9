import numpy as np
import pytest
import tensorflow as tf

from tests.assemble.cutting import cut_ops
from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function, segment_function
from tftrt_toolkit.freeze import freeze_function, load_model

CONV = {"Conv2D", "Relu", "AddV2", "Mean", "MatMul"}


@pytest.fixture(scope="module", autouse=True)
def ops():
    runtime.load_ops()


class Cnn(tf.Module):
    def __init__(self):
        random = tf.random.Generator.from_seed(1)
        self.kernel = tf.Variable(random.normal([3, 3, 64, 64]), name="kernel")
        self.bias = tf.Variable(random.normal([64]), name="bias")
        self.dense = tf.Variable(random.normal([64, 100]), name="dense")

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 64], tf.float32, "images")])
    def serve(self, images):
        hidden = tf.nn.relu(tf.nn.conv2d(images, self.kernel, 1, "SAME") + self.bias)
        return {"logits": tf.reduce_mean(hidden, [1, 2]) @ self.dense, "hidden": hidden}


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    directory = tmp_path_factory.mktemp("cnn")
    tf.saved_model.save(Cnn(), str(directory))
    model = load_model(directory)
    return freeze_function(model.signatures["serving_default"], "serving_default")


@pytest.fixture(scope="module")
def images():
    return tf.random.stateless_normal([2, 8, 8, 64], seed=[1, 2])


def assemble(frozen, ops, **attributes):
    segment = cut_ops(frozen.graph, ops, "StatefulPartitionedCall/TRTEngineOp_000_000")
    segments = {frozen.graph.name: [segment]}
    return assemble_function(frozen, segments, EngineAttributes(**attributes))


def test_the_converted_function_gives_what_the_original_gives(frozen, images):
    converted = assemble(frozen, CONV).function
    expected, got = frozen.function(images=images), converted(images=images)
    assert expected.keys() == got.keys()
    for key in expected:
        np.testing.assert_allclose(got[key], expected[key], rtol=1e-5, atol=1e-4)


def test_structure_names_dtypes_and_shapes_are_the_originals(frozen):
    original, converted = frozen.function, assemble(frozen, CONV).function
    assert converted.structured_input_signature == original.structured_input_signature
    shapes = {key: spec.shape.as_list() for key, spec in converted.structured_outputs.items()}
    assert shapes == {"hidden": [None, 8, 8, 64], "logits": [None, 100]}


def test_an_engine_node_has_the_stock_attributes(frozen):
    converted = assemble(frozen, CONV, precision_mode="FP16", max_cached_engines_count=3)
    (node,) = [
        op.node_def for op in converted.function.graph.get_operations() if op.type == "TRTEngineOp"
    ]
    assert node.name == "StatefulPartitionedCall/TRTEngineOp_000_000"
    assert node.attr["segment_func"].func.name.endswith("_native_segment")
    assert node.attr["precision_mode"].s == b"FP16"
    assert node.attr["max_cached_engines_count"].i == 3
    resource = converted.resources[node.name]
    assert node.attr["segment_funcdef_name"].s.decode() == resource
    assert resource.startswith("TRTEngineOp_000_000@")
    # The images, then the handles of the two variables large enough to stay variables.
    assert list(node.attr["InT"].list.type) == [1, 20, 20]
    assert len(node.attr["input_shapes"].list.shape) == 1


def test_int32_inputs_may_lie_on_the_host_of_a_gpu():
    @tf.function(input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([None], tf.int32)])
    def add(x, ids):
        return tf.nn.relu(x) + tf.cast(ids * ids, tf.float32)[:, None]

    frozen = freeze_function(add.get_concrete_function(), "add")
    converted = assemble(frozen, {"Relu", "Mul", "Cast", "ExpandDims", "StridedSlice", "AddV2"})
    (node,) = [
        op.node_def for op in converted.function.graph.get_operations() if op.type == "TRTEngineOp"
    ]
    kinds = list(node.attr["InT"].list.type)
    assert tf.int32.as_datatype_enum in kinds
    on_host = [i for i, kind in enumerate(kinds) if kind == tf.int32.as_datatype_enum]
    assert list(node.attr["_input_hostmem"].list.i) == on_host


def test_two_conversions_of_a_model_share_no_name(frozen, images):
    first, second = assemble(frozen, CONV), assemble(frozen, CONV)
    assert not set(first.resources.values()) & set(second.resources.values())
    expected = first.function(images=images)["logits"]
    del first
    np.testing.assert_array_equal(second.function(images=images)["logits"], expected)


def test_a_segment_runs_by_itself(frozen, images):
    (segment,) = assemble(frozen, CONV).segments
    outputs = segment_function(frozen, segment)([images.numpy()])
    expected = frozen.function(images=images)
    by_shape = {output.ndim: output for output in outputs}
    np.testing.assert_allclose(by_shape[4], expected["hidden"], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(by_shape[2], expected["logits"], rtol=1e-5, atol=1e-4)
