"""Models that TensorFlow 2.17.1's converter wrote; see tests/tf217/make_stock_models.py."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tftrt_toolkit.saved_model import read_saved_model

MODELS = Path(__file__).parent / "models"
WITH_ASSETS = ["static", "dynamic", "unfrozen"]
# TensorFlow 1.14's attributes hide the native functions from TensorFlow 2's loader.
LOADABLE = [*WITH_ASSETS, "unbuilt", "v1_inline_engine"]
RESTORABLE = [*LOADABLE, "v1_old_attributes"]


def run(directory, x):
    """Results of the default signature in TensorFlow 2's loader."""
    model = tf.saved_model.load(str(directory))
    results = model.signatures["serving_default"](x=tf.constant(x))
    return {name: tensor.numpy() for name, tensor in results.items()}


def run_in_session(directory, x):
    """Results of the default signature in TensorFlow 1's loader, which TensorFlow Serving uses."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(directory))
        signature = meta_graph.signature_def["serving_default"]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        return session.run(outputs, {signature.inputs["x"].name: x})


def assert_same(results, expected):
    for name in ("scores", "doubled"):
        np.testing.assert_allclose(results[name], expected[name], rtol=1e-6, atol=1e-7)


def meta_graph_of(directory):
    (meta_graph,) = read_saved_model(directory).meta_graphs
    return meta_graph


def ops_of(meta_graph):
    """Op types of the graph and of all its functions."""
    nodes = list(meta_graph.graph_def.node)
    for function in meta_graph.graph_def.library.function:
        nodes.extend(function.node_def)
    return {node.op for node in nodes}
