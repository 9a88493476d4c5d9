import numpy as np
import pytest
import tensorflow as tf

from tests.segments import freeze, whole_segment
from tftrt_toolkit.errors import ExportError
from tftrt_toolkit.export import export_segment
from tftrt_toolkit.onnx_model import content_hash, run_session, to_session

RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(size=(3, 3, 16, 64)).astype(np.float32)
DENSE = RANDOM.normal(size=(64, 100)).astype(np.float32)


IMAGE = tf.TensorSpec([None, 16, 16, 16], tf.float32, name="image")


@pytest.fixture(scope="module")
def exported():
    variables = tf.Variable(KERNEL), tf.Variable(DENSE)

    def function(x):
        y = tf.nn.relu(tf.nn.conv2d(x, variables[0], 2, "SAME") + 0.5)
        return tf.nn.softmax(tf.matmul(tf.reduce_mean(y, [1, 2]), variables[1]))

    graph, segment = freeze(function, [IMAGE])
    return function, graph, segment, export_segment(graph, segment)


def dims(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_gives_what_tensorflow_gives(exported):
    function, _, _, model = exported
    x = RANDOM.normal(size=(2, 16, 16, 16)).astype(np.float32)
    (actual,) = run_session(to_session(model), model, [x])
    np.testing.assert_allclose(actual, function(x), atol=1e-6)


def test_interface_bears_tensor_names_and_symbols(exported):
    _, _, segment, model = exported
    assert [value.name for value in model.proto.graph.input] == ["image:0"]
    assert dims(model.proto.graph.input[0]) == ["image_0", 16, 16, 16]
    assert [value.name for value in model.proto.graph.output] == [segment.outputs[0].name]
    assert dims(model.proto.graph.output[0]) == ["image_0", 100]


def test_weights_lie_beside_the_graph_in_onnx_layout(exported):
    _, graph, _, model = exported
    assert sorted(array.shape for array in model.weights.values()) == [(64, 16, 3, 3), (64, 100)]
    assert all(array.flags.c_contiguous for array in model.weights.values())
    external = {t.name for t in model.proto.graph.initializer if t.data_location}
    assert external == set(model.weights)
    assert model.proto.ByteSize() < 4000
    dense = next(a for a in model.weights.values() if a.shape == (64, 100))
    source = next(w.value for w in graph.weights.values() if w.value.shape == (64, 100))
    assert np.shares_memory(dense, source)


def test_opset_and_ops(exported):
    model = exported[3]
    assert [(entry.domain, entry.version) for entry in model.proto.opset_import] == [("", 18)]
    ops = {node.op_type for node in model.proto.graph.node}
    assert ops == {"Transpose", "Conv", "Add", "Relu", "ReduceMean", "MatMul", "Softmax"}


def test_exporting_twice_gives_equal_bytes(exported):
    _, graph, segment, model = exported
    assert content_hash(export_segment(graph, segment)) == content_hash(model)


def test_second_outputs_of_a_node_may_be_inputs():
    """A segment that starts behind `Split` takes `split:1`, which no placeholder can yield."""

    def function(x):
        left, right = tf.split(x, 2, axis=1, name="split")
        return tf.subtract(right, left, name="gap")

    graph, _ = freeze(function, [tf.TensorSpec([None, 4], tf.float32, name="x")])
    whole = whole_segment(graph)
    split = next(node for node in graph.graph_def.node if node.op == "Split")
    outside = {split.name, *split.input}
    inner = tuple(name for name in whole.nodes if name not in outside)
    inputs = (graph.tensors["split:1"], graph.tensors["split:0"])
    segment = whole.__class__(**{**vars(whole), "nodes": inner, "inputs": inputs})
    model = export_segment(graph, segment)
    assert [value.name for value in model.proto.graph.input] == ["split:1", "split:0"]
    a, b = np.full((1, 2), 5, np.float32), np.full((1, 2), 3, np.float32)
    assert run_session(to_session(model), model, [a, b])[0].tolist() == [[2, 2]]


@pytest.mark.parametrize("dtype", [tf.int64, tf.int32, tf.float64, tf.bool, tf.float16, tf.uint8])
def test_dtypes_at_the_boundary_are_tensorflows(dtype):
    graph, segment = freeze(lambda x: tf.transpose(x), [tf.TensorSpec([2, 3], dtype, name="x")])
    model = export_segment(graph, segment)
    x = np.arange(6).reshape(2, 3).astype(dtype.as_numpy_dtype)
    (actual,) = run_session(to_session(model), model, [x])
    assert actual.dtype == x.dtype
    assert (actual == x.T).all()


def refused(function, *specs):
    graph, segment = freeze(function, specs)
    with pytest.raises(ExportError) as caught:
        export_segment(graph, segment)
    return caught.value


def test_op_without_a_mapping_is_named():
    error = refused(
        lambda x: tf.raw_ops.Bitcast(input=tf.nn.relu(x), type=tf.int32, name="reading") + 1,
        tf.TensorSpec([4], tf.float32),
    )
    assert error.nodes == ("reading",)
    assert "Bitcast" in error.reason
    assert "\n" not in str(error)


def test_op_whose_attributes_cannot_be_mapped_is_named():
    error = refused(
        lambda x: tf.nn.relu(tf.math.cumulative_logsumexp(x, name="sums")),
        tf.TensorSpec([4], tf.float32),
    )
    assert error.nodes == ("sums",)


def test_unknown_rank_is_refused():
    error = refused(lambda x: x + 1.0, tf.TensorSpec(None, tf.float32, name="x"))
    assert "rank of x:0 is unknown" in error.reason


def test_bfloat16_is_refused_rather_than_taken_for_float16():
    error = refused(lambda x: x + 1, tf.TensorSpec([2], tf.bfloat16, name="x"))
    assert "bfloat16" in error.reason


def test_nothing_is_printed_or_logged_above_debug(capfd, caplog, exported):
    _, graph, segment, _ = exported
    with caplog.at_level("INFO"):
        export_segment(graph, segment)
    assert caplog.records == []
    assert "tf2onnx" not in "".join(capfd.readouterr())
