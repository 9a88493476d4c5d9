"""Functions to freeze, and ways to look at what came out."""

import tensorflow as tf

from tftrt_toolkit.freeze import freeze_function

ROWS = tf.TensorSpec([None, 64], tf.float32, "rows")


def variable(*shape, seed=1, name=None):
    return tf.Variable(tf.random.stateless_normal(shape, [seed, seed]), name=name)


def freeze(function, *specs):
    """A Python function, frozen under the name `main`."""
    return freeze_function(tf.function(function).get_concrete_function(*specs), "main").graph


def ops(graph):
    return [node.op for node in graph.graph_def.node]


def nodes(graph, op):
    return [node for node in graph.graph_def.node if node.op == op]


def body(graph, part):
    """The one body whose name has `part` in it."""
    (found,) = [item for name, item in graph.bodies.items() if part in name]
    return found


@tf.function
def multiplied(rows, handle):
    """Rows of 64, multiplied in a loop with the [64, 64] variable that this handle stands for."""

    def multiply(step, state):
        kernel = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
        return step + 1, state @ tf.ensure_shape(kernel, [64, 64])

    return tf.while_loop(lambda step, _: step < 2, multiply, [0, rows])[1]
