"""Whole functions as frozen graphs with one segment, for tests that need no other stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from tftrt_toolkit.artifacts import FrozenGraph, Segment, TensorSpec, Weight
from tftrt_toolkit.graph import topological

LARGE = 4096  # elements; constants from this size on become weights


def freeze(
    function: Callable, specs: Sequence[tf.TensorSpec], large: int = LARGE
) -> tuple[FrozenGraph, Segment]:
    """A Python function's graph, frozen, and one segment of all its nodes."""
    concrete = tf.function(function).get_concrete_function(*specs)
    frozen = convert_variables_to_constants_v2(concrete)
    graph_def = tf.compat.v1.GraphDef()
    graph_def.versions.CopyFrom(frozen.graph.as_graph_def().versions)
    graph_def.node.extend(topological(frozen.graph.as_graph_def().node))
    weights = {}
    for node in graph_def.node:
        if node.op == "Const":
            value = tf.make_ndarray(node.attr["value"].tensor)
            if value.size >= large:
                weights[node.name] = Weight(value=value, reader=None)
                node.op = "Placeholder"
                del node.attr["value"]
                node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    arguments = tuple(tensor.op.name for tensor in frozen.inputs)
    results = tuple(tensor.name for tensor in frozen.outputs)
    tensors = {
        tensor.name: TensorSpec(tensor.name, tensor.dtype, tensor.shape)
        for op in frozen.graph.get_operations()
        for tensor in op.outputs
    }
    graph = FrozenGraph("main", graph_def, arguments, results, (), weights, tensors)
    return graph, whole_segment(graph)


def whole_segment(graph: FrozenGraph, name: str = "TRTEngineOp_000_000") -> Segment:
    """All nodes but the arguments."""
    nodes = [node for node in graph.graph_def.node if node.name not in graph.arguments]
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.op] = counts.get(node.op, 0) + 1
    return Segment(
        name=name,
        graph=graph.name,
        nodes=tuple(node.name for node in nodes),
        inputs=tuple(graph.tensors[f"{name}:0"] for name in graph.arguments),
        outputs=tuple(graph.tensors[name] for name in dict.fromkeys(graph.results)),
        weights=tuple(node.name for node in nodes if node.name in graph.weights),
        control_inputs=(),
        op_counts=counts,
    )


def as_arrays(outputs: object) -> list[np.ndarray]:
    """What a function returned, flattened, as arrays."""
    return [np.asarray(value) for value in tf.nest.flatten(outputs)]
