"""The graph of a frozen function."""

import numpy as np
import tensorflow as tf

from tests.freeze.frozen import ROWS, freeze, nodes, ops, variable
from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function
from tftrt_toolkit.freeze import freeze_function
from tftrt_toolkit.graph import data_inputs, node_of


def test_calls_are_inlined_and_keep_their_names():
    layer = tf.function(lambda rows: tf.nn.relu(rows, name="activate"))
    graph = freeze(lambda rows: layer(rows) + 1.0, ROWS)
    assert [node.name for node in nodes(graph, "Relu")] == ["PartitionedCall/activate"]


def test_devices_stay():
    def serve(rows):
        with tf.device("/device:CPU:0"):
            return tf.nn.relu(rows)

    (relu,) = nodes(freeze(serve, ROWS), "Relu")
    assert relu.device.endswith("CPU:0")


def test_functions_for_xla_are_inlined_too():
    layer = tf.function(lambda rows: tf.nn.relu(rows), jit_compile=True)
    graph = freeze(lambda rows: layer(rows) + 1.0, ROWS)
    assert "Relu" in ops(graph)
    assert not graph.bodies


def test_nodes_that_nothing_needs_are_gone_and_arguments_stay():
    unused = variable(64, 128)

    def serve(rows):
        tf.matmul(rows, unused)
        return tf.nn.relu(rows)

    graph = freeze(serve, ROWS)
    assert ops(graph).count("Placeholder") == len(graph.arguments) == 2
    assert "MatMul" not in ops(graph)
    assert not graph.control_results


def test_nodes_stand_behind_their_inputs_and_every_tensor_has_a_spec():
    kernel = variable(64, 128)
    graph = freeze(lambda rows: tf.nn.relu(rows @ kernel), ROWS)
    seen = set()
    for node in graph.graph_def.node:
        assert {node_of(name) for name in data_inputs(node)} <= seen
        seen.add(node.name)
        assert f"{node.name}:0" in graph.tensors
    assert graph.tensors[graph.results[0]].shape.as_list() == [None, 128]


def test_static_shapes_fold():
    graph = freeze(
        lambda image: tf.reshape(image, [-1, tf.reduce_prod(tf.shape(image)[1:])]),
        tf.TensorSpec([2, 4, 4, 3], tf.float32),
    )
    assert "Shape" not in ops(graph)
    assert graph.tensors[graph.results[0]].shape.as_list() == [2, 48]


def test_fake_quantization_does_not_fold():
    graph = freeze(
        lambda rows: rows + tf.quantization.fake_quant_with_min_max_args(tf.ones([64]), -6, 6),
        ROWS,
    )
    assert "FakeQuantWithMinMaxArgs" in ops(graph)


def test_the_whole_is_assembled_again_without_a_change():
    runtime.load_ops()
    kernel, state = variable(64, 64), tf.Variable(1.0)

    @tf.function(input_signature=[ROWS])
    def serve(rows):
        state.assign_add(1.0)
        for _ in tf.range(3):
            rows = tf.tanh(rows @ kernel) * state
        return {"rows": rows, "sum": tf.reduce_sum(rows), "state": state.read_value()}

    frozen = freeze_function(serve.get_concrete_function(), "main")
    converted = assemble_function(frozen, {}, EngineAttributes()).function
    rows = tf.random.stateless_normal([3, 64], [5, 6])
    state.assign(1.0)
    expected = serve(rows)
    state.assign(1.0)
    for key, value in converted(rows).items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-5)
