"""Which variables and constants become weights beside the graph."""

import numpy as np
import pytest
import tensorflow as tf

from tests.freeze.frozen import ROWS, freeze, nodes, ops, variable
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.freeze import freeze_function
from tftrt_toolkit.graph import node_of


def test_a_large_variable_becomes_a_weight_that_shares_its_memory():
    kernel = variable(64, 128)
    graph = freeze(lambda rows: rows @ kernel, ROWS)
    ((name, weight),) = graph.weights.items()
    np.testing.assert_array_equal(weight.value, kernel.numpy())
    assert np.shares_memory(weight.value, np.asarray(memoryview(kernel.read_value())))
    assert not weight.value.flags.writeable
    placeholder = next(node for node in graph.graph_def.node if node.name == name)
    assert placeholder.op == "Placeholder"
    assert weight.reader.op == "ReadVariableOp"
    assert weight.reader.name == name
    assert weight.reader.input[0] in graph.arguments
    assert graph.graph_def.ByteSize() < 5000


def test_a_view_outlives_an_assignment():
    kernel = variable(64, 128)
    (weight,) = freeze(lambda rows: rows @ kernel, ROWS).weights.values()
    before = weight.value.copy()
    kernel.assign(tf.zeros_like(kernel))
    np.testing.assert_array_equal(weight.value, before)


def test_bfloat16_variables_are_read_too():
    kernel = tf.Variable(tf.cast(tf.random.stateless_normal([64, 128], [1, 2]), tf.bfloat16))
    graph = freeze(lambda rows: tf.cast(rows, tf.bfloat16) @ kernel, ROWS)
    (weight,) = graph.weights.values()
    assert weight.value.dtype == tf.bfloat16.as_numpy_dtype
    np.testing.assert_array_equal(weight.value, kernel.numpy())


def test_a_small_vector_folds_and_a_small_kernel_stays_a_weight():
    kernel, scale = variable(3, 3, 3, 8), variable(8)
    images = tf.TensorSpec([None, 8, 8, 3], tf.float32)
    graph = freeze(
        lambda image: tf.nn.conv2d(image, kernel, 1, "SAME") * tf.math.rsqrt(scale * scale + 1),
        images,
    )
    assert "Rsqrt" not in ops(graph)
    assert ops(graph).count("Mul") == 1  # into the kernel it would change what Conv2D rounds
    (weight,) = graph.weights.values()
    assert weight.value.shape == (3, 3, 3, 8)


def test_a_variable_that_is_assigned_stays_a_variable():
    kernel, counter = variable(64, 128), tf.Variable(tf.zeros([64, 128]))

    def serve(rows):
        counter.assign(counter * 2.0)
        return rows @ kernel + tf.reduce_sum(rows @ counter)

    graph = freeze(serve, ROWS)
    (weight,) = graph.weights.values()
    np.testing.assert_array_equal(weight.value, kernel)
    (assign,) = nodes(graph, "AssignVariableOp")
    assert graph.control_results == (assign.name,)
    reads = nodes(graph, "ReadVariableOp")
    assert [graph.tensors[f"{read.name}:0"].shape for read in reads] == [[64, 128]] * 2


def test_an_assignment_inside_a_branch_counts():
    state = variable(64, 128)

    def serve(rows):
        product = rows @ state
        tf.cond(
            tf.reduce_sum(rows) > 0,
            lambda: state.assign(-state),
            lambda: state.read_value(),
        )
        return product

    graph = freeze(serve, ROWS)
    assert not graph.weights
    assert not any(item.weights for item in graph.bodies.values())
    assert nodes(graph, "ReadVariableOp")


def test_two_reads_of_a_variable_are_one_weight():
    table = variable(200, 64)
    graph = freeze(
        lambda ids: tf.matmul(tf.gather(table, ids), table, transpose_b=True),
        tf.TensorSpec([None], tf.int32),
    )
    assert len(graph.weights) == 1
    (gather,) = nodes(graph, "GatherV2")
    (matmul,) = nodes(graph, "MatMul")
    assert node_of(gather.input[0]) == node_of(matmul.input[1]) == next(iter(graph.weights))
    assert "ResourceGather" not in ops(graph)


def test_gathers_along_batches_and_nd_keep_their_meaning():
    table = variable(8, 32, 32)
    ids = tf.constant([[1, 2]] * 8)

    def serve(rows):
        batched = tf.gather(table, ids, batch_dims=1) + rows[0, 0]
        return batched, tf.raw_ops.ResourceGatherNd(
            resource=table.handle, indices=ids, dtype=tf.float32
        )

    frozen = freeze_function(tf.function(serve).get_concrete_function(ROWS), "main")
    assert {"GatherV2", "GatherNd"} <= set(ops(frozen.graph))
    assert len(frozen.graph.weights) == 1


def test_a_variable_without_a_value_is_refused():
    with tf.init_scope():
        handle = tf.raw_ops.VarHandleOp(
            dtype=tf.float32, shape=[64, 128], shared_name="never assigned"
        )
    with pytest.raises(ModelError, match="a variable of the model has no value"):
        freeze(
            lambda rows: rows @ tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32),
            ROWS,
        )


def test_a_captured_tensor_becomes_a_weight_if_large_and_a_const_if_small():
    large, small = tf.random.stateless_normal([64, 128], [1, 2]), tf.ones([128])
    graph = freeze(lambda rows: rows @ large + small, ROWS)
    ((name, weight),) = graph.weights.items()
    assert np.shares_memory(weight.value, np.asarray(memoryview(large)))
    assert (weight.reader.op, weight.reader.name) == ("Identity", name)
    assert weight.reader.input[0] in graph.arguments
    (add,) = nodes(graph, "AddV2")
    const = next(node for node in graph.graph_def.node if node.name == add.input[1])
    assert const.op == "Const"


def test_a_large_const_is_lifted_and_its_reader_is_the_const():
    value = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)
    graph = freeze(lambda rows: rows @ tf.constant(value), ROWS)
    (weight,) = graph.weights.values()
    np.testing.assert_array_equal(weight.value, value)
    assert weight.reader.op == "Const"
    np.testing.assert_array_equal(tf.make_ndarray(weight.reader.attr["value"].tensor), value)
    assert graph.graph_def.ByteSize() < 5000


def test_a_large_const_of_a_function_called_twice_is_one_array():
    value = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32) * 2
    value = np.concatenate([value, value], axis=1)
    layer = tf.function(lambda rows: tf.nn.relu(rows @ tf.constant(value))[:, :64])
    graph = freeze(lambda rows: layer(layer(rows)), ROWS)
    first, second = graph.weights.values()
    assert first.value is second.value
    assert ops(graph).count("MatMul") == 2


def test_what_folds_to_something_large_is_lifted():
    mask = tf.ones([100], tf.int32)
    graph = freeze(lambda rows: rows[:1, :1] + tf.cast(mask[:, None] * mask, tf.float32), ROWS)
    (weight,) = graph.weights.values()
    assert weight.value.shape == (100, 100)


def test_strings_stay_constants():
    words = tf.constant([f"word{index}" for index in range(5000)])
    graph = freeze(lambda index: words[index], tf.TensorSpec([], tf.int32))
    assert not graph.weights
