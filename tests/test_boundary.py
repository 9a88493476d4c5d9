"""Shape inference at segment boundaries, on a frozen graph of real ops."""

import dataclasses

import tensorflow as tf

from tests.segments import freeze
from tftrt_toolkit.artifacts import Observation, Segment
from tftrt_toolkit.boundary import infer_observations


def segment_with_inputs(graph, *tensors):
    return Segment(
        name="TRTEngineOp_000_000",
        graph=graph.name,
        nodes=(),
        inputs=tuple(graph.tensors[tensor] for tensor in tensors),
        outputs=(),
        weights=(),
        control_inputs=(),
        op_counts={},
    )


def frozen_model():
    def model(x):
        pooled = tf.nn.max_pool2d(x, 2, 2, "VALID", name="pooled")
        flat = tf.reshape(pooled, [tf.shape(x)[0], -1], name="flat")
        return tf.nn.relu(flat, name="relu"), tf.boolean_mask(flat, flat[:, 0] > 0)

    graph, _ = freeze(model, [tf.TensorSpec([None, None, 8, 3], tf.float32, name="x")])
    return graph


def test_shapes_follow_from_the_arguments():
    graph = frozen_model()
    segment = segment_with_inputs(graph, "pooled:0", "flat:0")
    found = infer_observations(graph, [segment], {graph.arguments[0]: (4, 6, 8, 3)})
    expected = Observation({"pooled:0": (4, 3, 4, 3), "flat:0": (4, 36)})
    assert found == {"TRTEngineOp_000_000": expected}


def test_open_dimensions_and_other_graphs_are_left_out():
    graph = frozen_model()
    shapes = {graph.arguments[0]: (4, 6, 8, 3)}
    unknown = segment_with_inputs(graph, graph.results[1])
    assert infer_observations(graph, [unknown], shapes) == {}
    elsewhere = segment_with_inputs(graph, "flat:0")
    elsewhere = dataclasses.replace(elsewhere, graph="body")
    assert infer_observations(graph, [elsewhere], shapes) == {}


def test_the_graph_itself_is_not_changed():
    graph = frozen_model()
    before = graph.graph_def.SerializeToString(deterministic=True)
    infer_observations(graph, [], {graph.arguments[0]: (4, 6, 8, 3)})
    assert graph.graph_def.SerializeToString(deterministic=True) == before
