"""`minimum_segment_size=-1`: only functions marked `_tftrt_convert_function` convert."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function
from tftrt_toolkit.freeze import freeze_function, load_model
from tftrt_toolkit.segment import SegmentRules, segment_graph
from tftrt_toolkit.support import SupportRules, support_map


class Model(tf.Module):
    @tf.function
    def marked(self, x):
        return tf.while_loop(lambda x: tf.reduce_sum(x) < 9, lambda x: [tf.abs(x) + 1], [x])[0] * 2

    @tf.function
    def plain(self, x):
        return tf.exp(tf.tanh(tf.exp(x)))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")])
    def serve(self, x):
        return self.plain(self.marked(x) + 1.0)


def mark(directory, name):
    """Mark a function of a SavedModel; today's tf.function takes no such attribute."""
    path = directory / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for function in model.meta_graphs[0].graph_def.library.function:
        if function.signature.name.startswith(f"__inference_{name}_"):
            function.attr["_tftrt_convert_function"].b = True
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def function(tmp_path_factory):
    runtime.load_ops()
    directory = tmp_path_factory.mktemp("model")
    tf.saved_model.save(Model(), str(directory))
    mark(directory, "marked")
    return load_model(directory).signatures["serving_default"]


def test_marked_functions_are_kept_apart_when_asked(function):
    whole = freeze_function(function, "serve").graph
    assert not any("PartitionedCall" in node.op for node in whole.graph_def.node)
    kept = freeze_function(function, "serve", keep_marked=True).graph
    assert not kept.marked
    (call,) = kept.bodies.values()
    assert call.marked
    assert all(body.marked for body in call.bodies.values())


def test_only_they_convert_and_the_result_stays(function):
    frozen = freeze_function(function, "serve", keep_marked=True)
    graphs = [frozen.graph]
    for graph in graphs:
        graphs.extend(graph.bodies.values())
    rules = SegmentRules(minimum_segment_size=-1)
    segments = {}
    for index, graph in enumerate(graphs):
        refusals = support_map(graph, SupportRules(dynamic_shape=True))
        segments[graph.name] = segment_graph(graph, refusals, rules, index).segments
    assert [bool(found) for found in segments.values()] == [graph.marked for graph in graphs]
    converted = assemble_function(frozen, segments, EngineAttributes()).function
    x = tf.constant([[-1.0, 0.5, 0.25, 0.0]])
    expected, actual = function(x=x), converted(x=x)
    for key in expected:
        np.testing.assert_allclose(actual[key], expected[key], rtol=1e-6)
