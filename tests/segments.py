"""Whole functions as frozen graphs with one segment, for tests that need no other stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import FrozenGraph, Segment
from tftrt_toolkit.freeze import freeze_function
from tftrt_toolkit.graph import data_inputs, node_of


def freeze(function: Callable, specs: Sequence[tf.TensorSpec]) -> tuple[FrozenGraph, Segment]:
    """A Python function's graph, frozen, and one segment of all its nodes."""
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    graph = freeze_function(concrete, "main").graph
    return graph, whole_segment(graph)


def whole_segment(graph: FrozenGraph, name: str = "TRTEngineOp_000_000") -> Segment:
    """All nodes but the arguments and what no result needs (assertions, say)."""
    by_name = {node.name: node for node in graph.graph_def.node}
    needed = dict.fromkeys(node_of(result) for result in graph.results)
    waiting = list(needed)
    for current in waiting:  # grows while it is walked
        sources = [node_of(source) for source in data_inputs(by_name[current])]
        waiting.extend(source for source in sources if source not in needed)
        needed |= dict.fromkeys(sources)
    arguments = [node for node in graph.arguments if node in needed and node not in graph.weights]
    nodes = [
        node for node in graph.graph_def.node if node.name in needed and node.name not in arguments
    ]
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.op] = counts.get(node.op, 0) + 1
    return Segment(
        name=name,
        graph=graph.name,
        nodes=tuple(node.name for node in nodes),
        inputs=tuple(graph.tensors[f"{argument}:0"] for argument in arguments),
        outputs=tuple(graph.tensors[result] for result in dict.fromkeys(graph.results)),
        weights=tuple(node.name for node in nodes if node.name in graph.weights),
        control_inputs=(),
        op_counts=counts,
    )


def as_arrays(outputs: object) -> list[np.ndarray]:
    """What a function returned, flattened, as arrays."""
    return [np.asarray(value) for value in tf.nest.flatten(outputs)]
