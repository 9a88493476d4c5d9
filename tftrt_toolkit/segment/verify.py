"""The check behind the stage: what later stages rely on, or InternalError."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tftrt_toolkit.artifacts import FrozenGraph, Segment, Segmentation
from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.graph import data_inputs, node_of
from tftrt_toolkit.values import ValueKind, value_kinds


def verify_segmentation(graph: FrozenGraph, segmentation: Segmentation) -> None:
    """Raise InternalError unless `segmentation` fits `graph`. Linear in the graph.

    Names resolve and are free; nodes are convertible; every tensor that crosses is declared, with
    its dtype and shape; a node that isn't copied belongs to one segment; and with each segment
    made one node, the graph has no cycle.
    """
    nodes = {node.name: node for node in graph.graph_def.node}
    names = [segment.name for segment in segmentation.segments]
    _require(len(set(names)) == len(names), "two segments bear one name")
    kinds = value_kinds(graph, segmentation.refusals)
    owner: dict[str, int] = {}
    for index, segment in enumerate(segmentation.segments):
        _require(segment.name not in nodes, f"a node is named {segment.name!r} already")
        _verify_segment(graph, segment, nodes, segmentation.refusals)
        for name in segment.nodes:
            if kinds[name] is ValueKind.DATA:
                _require(name not in owner, f"node {name!r} is in two segments")
                owner[name] = index
    _verify_order(graph, segmentation.segments, nodes, owner)


def _verify_segment(
    graph: FrozenGraph, segment: Segment, nodes: Mapping[str, Any], refusals: Mapping[str, Any]
) -> None:
    label = f"segment {segment.name!r}"
    inner = set(segment.nodes)
    _require(len(inner) == len(segment.nodes), f"{label} lists a node twice")
    _require(bool(segment.inputs and segment.outputs), f"{label} lacks inputs or outputs")
    inputs = {spec.name for spec in segment.inputs}
    for name in segment.nodes:
        _require(name in nodes, f"{label} names node {name!r}, which doesn't exist")
        _require(name not in refusals, f"{label} holds refused node {name!r}")
        for tensor in data_inputs(nodes[name]):
            declared = node_of(tensor) in inner or tensor in inputs
            _require(declared, f"{label} takes {tensor!r} without declaring it")
    for spec in (*segment.inputs, *segment.outputs):
        _require(graph.tensors.get(spec.name) == spec, f"{label} misstates tensor {spec.name!r}")
    for spec in segment.inputs:
        _require(node_of(spec.name) not in inner, f"{label} computes its own input {spec.name!r}")
    for spec in segment.outputs:
        _require(node_of(spec.name) in inner, f"{label} doesn't compute output {spec.name!r}")
    weights = tuple(name for name in segment.nodes if name in graph.weights)
    _require(weights == segment.weights, f"{label} misstates its weights")


def _verify_order(
    graph: FrozenGraph,
    segments: Sequence[Segment],
    nodes: Mapping[str, Any],
    owner: Mapping[str, int],
) -> None:
    """Walk backwards from what must run, over native nodes and whole segments."""
    yielded: dict[str, int] = {}
    for index, segment in enumerate(segments):
        for spec in segment.outputs:
            _require(spec.name not in yielded, f"two segments yield {spec.name!r}")
            yielded[spec.name] = index

    def source_of(tensor: str) -> int | str:
        if tensor in yielded:
            return yielded[tensor]
        name = node_of(tensor)
        _require(name in nodes, f"tensor {tensor!r} doesn't exist")
        _require(name not in owner, f"{tensor!r} leaves a segment that doesn't declare it")
        return name

    def sources_of(unit: int | str) -> set[int | str]:
        if isinstance(unit, int):
            tensors = [spec.name for spec in segments[unit].inputs]
            controls = list(segments[unit].control_inputs)
        elif nodes[unit].op == "NextIteration":  # closes a loop of TF1; walked by itself below
            return set()
        else:
            tensors = list(data_inputs(nodes[unit]))
            controls = [node_of(name) for name in nodes[unit].input if name.startswith("^")]
        return {source_of(tensor) for tensor in tensors} | {
            owner.get(name, name) for name in controls
        }

    roots: list[int | str] = [source_of(result) for result in graph.results]
    roots += [owner.get(name, name) for name in graph.control_results]
    roots += [
        source_of(tensor)
        for node in nodes.values()
        if node.op == "NextIteration"
        for tensor in data_inputs(node)
    ]
    _require_acyclic(roots, sources_of)


def _require_acyclic(
    roots: Sequence[int | str], sources_of: Callable[[int | str], set[int | str]]
) -> None:
    """Depth first, without recursion: a vertex met again while it is open closes a cycle."""
    done: set[int | str] = set()
    is_open: set[int | str] = set()
    for root in roots:
        stack: list[tuple[int | str, Iterator[int | str]]] = []
        if root not in done:
            stack.append((root, iter(())))
        while stack:
            vertex, pending = stack[-1]
            if vertex not in is_open:
                is_open.add(vertex)
                pending = iter(sources_of(vertex))
                stack[-1] = (vertex, pending)
            for source in pending:
                _require(source not in is_open, f"segments close a cycle at {source!r}")
                if source not in done:
                    stack.append((source, iter(())))
                    break
            else:
                stack.pop()
                is_open.discard(vertex)
                done.add(vertex)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InternalError(f"segmentation: {message}")
