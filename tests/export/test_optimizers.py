import numpy as np
import tensorflow as tf
from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

from tests.segments import freeze
from tftrt_toolkit.export import export_segment, optimizers


def residual(x):
    """Convolutions in channels-last order with branches: tf2onnx transposes around each."""
    for index in range(4):
        kernel = tf.constant(np.full((3, 3, 4, 4), 0.1 + index, np.float32))
        branch = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + tf.range(4.0))
        x = tf.nn.max_pool2d(x, 3, 1, "SAME") + branch * 2.0
    return {"y": tf.reduce_mean(x, [1, 2])}


def exported():
    graph, segment = freeze(residual, [tf.TensorSpec([None, 8, 8, 4], tf.float32, name="x")])
    return export_segment(graph, segment).proto


def test_transposes_move_as_in_the_original(monkeypatch):
    class Original(optimizers._transpose_optimizer()):
        _optimize_at_current_graph_level = TransposeOptimizer._optimize_at_current_graph_level

    ours = exported()
    factories = {
        **optimizers._factories(),
        "optimize_transpose": optimizers._by_name(Original),
    }
    monkeypatch.setattr(optimizers, "_factories", lambda: factories)
    assert exported() == ours
    assert [node.op_type for node in ours.graph.node].count("Transpose") == 2
