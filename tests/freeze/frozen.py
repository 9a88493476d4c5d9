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
