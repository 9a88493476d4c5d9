"""Rounding between the nodes of a native function, as graphs before and after."""

import ml_dtypes
import numpy as np
import tensorflow as tf

from tests.segments import freeze
from tftrt_toolkit.artifacts import Rounding, Scaling
from tftrt_toolkit.assemble.native import native_function
from tftrt_toolkit.assemble.rounding import rounded_nodes

X = tf.TensorSpec([2, 4], tf.float32, name="x")
NONE = Rounding(tf.float16, frozenset(), frozenset(), {})


def two_nodes(x):
    return tf.nn.relu(tf.tanh(x, name="tanh"), name="relu")


def lines(nodes):
    return [f"{node.name} = {node.op}({', '.join(node.input)})" for node in nodes]


def run(function, rounding, x):
    graph, segment = freeze(function, [X])
    made = native_function(graph, segment, "native", {}, rounding)
    inner = tf.compat.v1.Graph()
    with inner.as_default(), tf.compat.v1.Session() as session:
        graph_def = tf.compat.v1.GraphDef()
        graph_def.library.function.add().CopyFrom(made)
        placeholder = graph_def.node.add(name="x", op="Placeholder")
        placeholder.attr["dtype"].type = tf.float32.as_datatype_enum
        graph_def.node.add(name="call", op="native", input=["x"])
        tf.import_graph_def(graph_def, name="")
        return session.run("call:0", {"x:0": x})


def test_what_is_made_low_is_rounded_for_all_takers():
    graph, segment = freeze(two_nodes, [X])
    nodes = [node for node in graph.graph_def.node if node.name in segment.nodes]
    rounding = Rounding(tf.bfloat16, frozenset({"tanh:0"}), frozenset(), {})
    made, moved = rounded_nodes(nodes, rounding)
    assert lines(made) == [
        "tanh = Tanh(x:0)",
        "tanh/Cast_rounding = Cast(tanh:0)",
        "tanh/Cast_rounding_1 = Cast(tanh/Cast_rounding:0)",
        "relu = Relu(tanh/Cast_rounding_1:0)",
        "Identity = Identity(relu:0)",
    ]
    assert made[1].attr["DstT"].type == tf.bfloat16.as_datatype_enum
    assert moved == {"tanh:0": "tanh/Cast_rounding_1:0"}
    assert lines(rounded_nodes(nodes, NONE)[0]) == [
        "tanh = Tanh(x:0)",
        "relu = Relu(tanh:0)",
        "Identity = Identity(relu:0)",
    ]


def test_numbers():
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    low = Rounding(tf.float16, frozenset({"Identity:0"}), frozenset({("tanh", 0)}), {})
    expected = np.maximum(np.tanh(x.astype(np.float16).astype(np.float32)), 0)
    np.testing.assert_array_equal(
        run(two_nodes, low, x), expected.astype(np.float16).astype(np.float32)
    )
    np.testing.assert_allclose(run(two_nodes, NONE, x), np.maximum(np.tanh(x), 0), rtol=1e-6)


def test_quantized_inputs():
    x = np.array([[0.26, -0.26, 9, -9]] * 2, np.float32)
    scale = np.array([0.1, 0.1, 0.01, 0.01], np.float32)
    int8 = Rounding(tf.float16, frozenset(), frozenset(), {("relu", 0): Scaling("INT8", scale)})
    negated = run(lambda x: tf.nn.relu(-x, name="relu"), int8, x)
    np.testing.assert_allclose(negated[0], [0, 0.3, 0, 1.27], rtol=1e-6)
    fp8 = Rounding(tf.float16, frozenset(), frozenset(), {("relu", 0): Scaling("FP8", scale)})
    found = run(lambda x: tf.nn.relu(-x, name="relu"), fp8, x)
    scaled = np.clip(-x / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    np.testing.assert_allclose(found, np.maximum(scaled * scale, 0), rtol=1e-6)
    kept = Rounding(tf.float16, frozenset(), frozenset(), {("relu", 0): Scaling("LOW", scale)})
    found = run(lambda x: tf.nn.relu(-x, name="relu"), kept, x)
    halves = (-x / scale).astype(np.float16).astype(np.float32) * scale
    np.testing.assert_allclose(found, np.maximum(halves, 0), rtol=1e-6)
