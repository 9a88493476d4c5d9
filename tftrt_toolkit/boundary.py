"""Shapes at segments' boundaries, inferred from the model's input shapes without running it.

Running ResNet50 at batch 64 to learn a profile's greatest shapes takes longer than building its
engine; TensorFlow's shape inference answers in a fraction of a second for most segments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import tensorflow as tf

from tftrt_toolkit.artifacts import FrozenGraph, Observation, Segment
from tftrt_toolkit.records import may_be_shape


def infer_observations(
    graph: FrozenGraph, segments: Iterable[Segment], argument_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Observation]:
    """Segment name -> what its inputs look like when the arguments have these shapes.

    Left out are the segments of other graphs, those for which inference leaves a dimension open,
    and those with an input that may be a shape, whose values only a run tells.
    """
    inferred = _import_with_shapes(graph, argument_shapes)
    found = {}
    for segment in segments:
        if segment.graph != graph.name or any(
            may_be_shape(spec.dtype.as_numpy_dtype, spec.shape) for spec in segment.inputs
        ):
            continue
        shapes = {
            spec.name: inferred.get_tensor_by_name(spec.name).shape for spec in segment.inputs
        }
        if all(shape.is_fully_defined() for shape in shapes.values()):
            found[segment.name] = Observation(
                {name: tuple(shape.as_list()) for name, shape in shapes.items()}
            )
    return found


def _import_with_shapes(
    graph: FrozenGraph, argument_shapes: Mapping[str, tuple[int, ...]]
) -> tf.Graph:
    graph_def = tf.compat.v1.GraphDef()
    graph_def.CopyFrom(graph.graph_def)
    for node in graph_def.node:
        if node.name in argument_shapes:
            shape = tf.TensorShape(argument_shapes[node.name])
            node.attr["shape"].shape.CopyFrom(shape.as_proto())
        # Recorded shapes are those of the unspecialised graph; inference must not trust them.
        if "_output_shapes" in node.attr:
            del node.attr["_output_shapes"]
    inferred = tf.Graph()
    with inferred.as_default():
        tf.import_graph_def(graph_def, name="")
    return inferred
