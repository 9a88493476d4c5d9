"""Which nodes of a segment are at fault when its ONNX and TensorFlow disagree."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import FrozenGraph, OnnxModel, Refusal, Sample, Segment, TensorSpec
from tftrt_toolkit.check.compare import ACCUMULATED_BOUND, BOUND, Difference, difference
from tftrt_toolkit.errors import ExportError, SessionError
from tftrt_toolkit.graph import data_inputs, node_of
from tftrt_toolkit.onnx_model import run_session, to_session
from tftrt_toolkit.subgraph import build_subgraph, run_subgraph

RULE = "check"
FED = "fed__"  # prefix of the inputs that stand for a tensor that another node yields
Export = Callable[[FrozenGraph, Segment], OnnxModel]
Values = Mapping[str, np.ndarray]


def wrong_apart(
    graph: FrozenGraph,
    segment: Segment,
    values: Values,
    export: Export,
    settled: Set[str] = frozenset(),
) -> dict[str, Refusal]:
    """Nodes whose ONNX form, fed with TensorFlow's own values, misses BOUND; `settled` ones apart.

    All nodes are taken apart in one graph, each fed from outside, so it takes one export.
    """
    return {
        node: _refusal(graph, node, found)
        for node, found in _compare_apart(graph, segment, values, export, settled)
    }


def node_in_error(message: str, segment: Segment) -> str | None:
    """The segment's node that an ONNX Runtime error names, if any."""
    named = re.findall(r"(?:node with name|[Nn]ame|node:)\s*:?\s*'?\"?([^\s'\")]+)", message)
    known = set(segment.nodes)
    for name in named:
        while name:
            if name in known:
                return name
            name = name.rpartition("_")[0]
    return None


def _run(onnx: OnnxModel, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    return run_session(to_session(onnx, weights_as_inputs=True, optimize=False), onnx, inputs)


def _refusal(graph: FrozenGraph, node: str, found: Difference) -> Refusal:
    op = next(item.op for item in graph.graph_def.node if item.name == node)
    return Refusal(RULE, f"{op} {node!r}: its ONNX form gives another result, {found.words}")


def native_values(
    graph: FrozenGraph, segment: Segment, sample: Sample, only: Set[str] | None = None
) -> Values:
    """The segment's tensors as TensorFlow computes them, its inputs too; weights left out.

    only: names of those wanted; None: all of them.
    """
    subgraph = build_subgraph(graph, segment)
    weights = {name: graph.weights[name].value for name in segment.weights}
    tensors = [
        tensor.name
        for name in segment.nodes
        if name not in weights
        for tensor in subgraph.graph.get_operation_by_name(name).outputs
        if tensor.dtype not in (tf.resource, tf.variant) and (only is None or tensor.name in only)
    ]
    values = run_subgraph(subgraph, sample.inputs, weights, tensors)
    inputs = zip((spec.name for spec in segment.inputs), sample.inputs, strict=True)
    return dict(zip(tensors, map(np.asarray, values), strict=True)) | dict(inputs)


def _compare_apart(
    graph: FrozenGraph, segment: Segment, values: Values, export: Export, settled: Set[str]
) -> Iterator[tuple[str, Difference]]:
    skipped = set(settled)
    while True:
        exploded, alone = take_apart(graph, segment, skipped)
        if not alone.outputs:
            return
        feeds = [values[spec.name.removeprefix(FED)] for spec in alone.inputs]
        # What works in its place and not by itself isn't to blame for that.
        try:
            actual = _run(export(exploded, alone), feeds)
            break
        except ExportError as error:
            nodes = set(error.nodes)
        except SessionError as error:
            named = node_in_error(str(error), alone)
            nodes = {named} if named else set()
        if not nodes:
            return
        skipped |= nodes
    blamed = set()
    for spec, value in zip(alone.outputs, actual, strict=True):
        found = difference(spec.name, values[spec.name], value)
        node = node_of(spec.name)
        if not found.ratio <= BOUND and node not in blamed:
            blamed.add(node)
            yield node, found


def take_apart(
    graph: FrozenGraph, segment: Segment, skipped: set[str]
) -> tuple[FrozenGraph, Segment]:
    """The segment with each node fed from outside, and all results as outputs.

    Before: `y = B(A(x))`, after: `A(x)` and `B(fed__A)`. Constants and what is computed from them
    alone stay in place, since many mappings want them as constants. `skipped` nodes are left out.
    """
    inner = [node for node in graph.graph_def.node if node.name in set(segment.nodes)]
    fixed = _fixed_nodes(inner, segment)
    computing = [node for node in inner if node.name not in fixed]
    computed = {node.name for node in computing}
    used = {name for node in computing for name in data_inputs(node)}
    used |= {spec.name for spec in segment.outputs}
    kept = [node for node in computing if node.name not in skipped]
    fixed &= _ancestors(kept, inner)
    graph_def = tf.compat.v1.GraphDef(versions=graph.graph_def.versions)
    graph_def.node.extend(node for node in inner if node.name in fixed)
    inputs = {spec.name: spec for spec in segment.inputs}
    for node in kept:
        copy = graph_def.node.add()
        copy.CopyFrom(node)
        for index, name in enumerate(data_inputs(node)):
            if node_of(name) in computed:
                spec = graph.tensors[name]
                inputs[FED + name] = TensorSpec(FED + name, spec.dtype, spec.shape)
                copy.input[index] = FED + name
    names = {node.name for node in kept}
    outputs = [graph.tensors[name] for name in sorted(used) if node_of(name) in names]
    apart = dataclasses.replace(
        segment,
        nodes=tuple(node.name for node in graph_def.node),
        inputs=tuple(inputs.values()),
        outputs=tuple(outputs),
        weights=tuple(name for name in segment.weights if name in fixed),
    )
    return dataclasses.replace(graph, graph_def=graph_def), apart


def _ancestors(nodes: Sequence, inner: Sequence) -> set[str]:
    """Names of all that `nodes` are computed from (`inner` in topological order)."""
    needed = {node_of(name) for node in nodes for name in data_inputs(node)}
    for node in reversed(inner):
        if node.name in needed:
            needed.update(node_of(name) for name in data_inputs(node))
    return needed


def _fixed_nodes(nodes: Sequence, segment: Segment) -> set[str]:
    """Constants, weights, and nodes computed from these alone (nodes in topological order)."""
    fixed = set(segment.weights)
    for node in nodes:
        sources = [node_of(name) for name in data_inputs(node)]
        if node.op == "Const" or (sources and fixed.issuperset(sources)):
            fixed.add(node.name)
    return fixed


def wrong_together(
    graph: FrozenGraph, segment: Segment, sample: Sample, values: Values, export: Export
) -> dict[str, Refusal]:
    """The last node of the shortest run of nodes that misses ACCUMULATED_BOUND, by bisecting.

    For a fault between nodes that are right apart, a pattern that was rewritten: without its last
    node the pattern isn't met.
    """
    low, high = 0, len(segment.nodes)  # a run of `low` nodes is right, one of `high` is wrong
    found = _prefix_difference(graph, segment, high, sample, values, export)
    while found is not None and high - low > 1:
        middle = (low + high) // 2
        wrong = _prefix_difference(graph, segment, middle, sample, values, export)
        if wrong is None:
            low = middle
        else:
            high, found = middle, wrong
    if found is None:
        return {}
    node = segment.nodes[high - 1]
    return {node: _refusal(graph, node, found)}


def _prefix_difference(
    graph: FrozenGraph,
    segment: Segment,
    count: int,
    sample: Sample,
    values: Values,
    export: Export,
) -> Difference | None:
    """The worst tensor that leaves the first `count` nodes, if it is out of bounds."""
    nodes = set(segment.nodes[:count])
    inner = [node for node in graph.graph_def.node if node.name in set(segment.nodes)]
    fixed = _fixed_nodes(inner, segment)
    leaving = {name for node in inner if node.name not in nodes for name in data_inputs(node)}
    leaving |= {spec.name for spec in segment.outputs}
    outputs = sorted(name for name in leaving if node_of(name) in nodes - fixed)
    if not outputs:
        return None
    prefix = dataclasses.replace(
        segment,
        nodes=segment.nodes[:count],
        outputs=tuple(graph.tensors[name] for name in outputs),
        weights=tuple(name for name in segment.weights if name in nodes),
    )
    try:
        actual = _run(export(graph, prefix), sample.inputs)
    except (ExportError, SessionError):  # cut inside a pattern: its end decides
        return None
    gaps = [difference(n, values[n], v) for n, v in zip(outputs, actual, strict=True)]
    worst = max(gaps, key=lambda gap: gap.ratio)
    return None if worst.ratio <= ACCUMULATED_BOUND else worst
