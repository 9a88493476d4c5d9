import numpy as np
import onnx
import pytest

from tftrt_toolkit.export.weights import attach_weights, fold_weights

W = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def graph_of(text):
    return onnx.parser.parse_graph(text)


@pytest.mark.parametrize(
    ("node", "initializer", "expected"),
    [
        ("Transpose <perm: ints = [2, 0, 1]> (w)", "", W.transpose(2, 0, 1)),
        ("Transpose (w)", "", W.T),
        ("Reshape (w, s)", "int64[2] s = {-1, 4}", W.reshape(6, 4)),
        ("Reshape (w, s)", "int64[3] s = {0, 0, -1}", W),
        ("Unsqueeze (w, s)", "int64[1] s = {1}", W[:, None]),
        ("Squeeze (w, s)", "int64[1] s = {-1}", W),
        ("Identity (w)", "", W),
        ("Cast <to: int = 10> (w)", "", W.astype(np.float16)),
    ],
)
def test_what_is_done_to_a_weight_alone_is_done_to_the_array(node, initializer, expected):
    shape = "[2, 3, 4, 1]" if node.startswith("Squeeze") else "[2, 3, 4]"
    array = W[..., None] if node.startswith("Squeeze") else W
    graph = graph_of(
        f"g (float{shape} w, float[N] x) => (float y) <{initializer}> {{ v = {node} y = F(x, v) }}"
    )
    weights = fold_weights(graph, {"w": array})
    assert [item.op_type for item in graph.node] == ["F"]
    assert list(weights) == ["v"]
    np.testing.assert_array_equal(weights["v"], expected)
    assert weights["v"].dtype == expected.dtype
    assert weights["v"].flags.c_contiguous
    assert not graph.initializer, "nothing unused is left"


def test_shape_of_a_weight_becomes_a_constant():
    graph = graph_of("g (float w, float x) => (float y) { s = Shape(w) y = F(x, s) }")
    assert fold_weights(graph, {"w": W}) == {}
    assert onnx.numpy_helper.to_array(graph.initializer[0]).tolist() == [2, 3, 4]


def test_a_weight_keeps_its_array_where_its_layout_serves():
    graph = graph_of("g (float w) => (float y) { v = Identity(w) y = F(v, w) }")
    weights = fold_weights(graph, {"w": W})
    assert all(np.shares_memory(array, W) for array in weights.values())
    assert set(weights) == {"v", "w"}


@pytest.mark.parametrize(
    "body",
    [
        "v = Transpose(x) y = F(v, w)",  # not of a weight
        "y = Transpose(w)",  # a result
        "v = Reshape(w, s) y = F(v)",  # to a computed shape
        "v = Relu(w) y = F(v)",  # arithmetic is left to the builder
    ],
)
def test_the_rest_stays(body):
    graph = graph_of(f"g (float w, float x, int64[1] s) => (float y) {{ {body} }}")
    before = [node.op_type for node in graph.node]
    assert list(fold_weights(graph, {"w": W})) == ["w"]
    assert [node.op_type for node in graph.node] == before


def test_attached_weights_are_external_initializers_and_no_inputs():
    graph = graph_of("g (float w, float x) => (float y) { y = F(x, w) }")
    attach_weights(graph, {"w": W})
    assert [value.name for value in graph.input] == ["x"]
    (tensor,) = graph.initializer
    assert (tensor.name, list(tensor.dims), tensor.data_type) == ("w", [2, 3, 4], 1)
    assert tensor.data_location == onnx.TensorProto.EXTERNAL
    assert not tensor.raw_data
