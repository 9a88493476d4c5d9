"""The segments of a converted SavedModel beside the graph that they were cut from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tftrt_toolkit.artifacts import FrozenFunction, FrozenGraph, Segment
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.freeze import freeze_function, load_model
from tftrt_toolkit.graph import data_inputs, node_of
from tftrt_toolkit.saved_model import find_meta_graph, read_saved_model
from tftrt_toolkit.validation.models import conversion_report

# How a segment runs, where no executor of the runtime does it.
EMULATION, NATIVE, STOCK = "emulation", "native", "TensorFlow's TensorRT"
_ENGINE_OP = "TRTEngineOp"
_ASSET_PREFIX = "trt-serialized-engine."


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine node of a converted SavedModel: its resource, and its asset file if it has one."""

    name: str
    resource: str
    asset: Path | None


@dataclasses.dataclass(frozen=True)
class Execution:
    """How the segments of a model run.

    executed: segment -> "emulation", "native", "TensorFlow's TensorRT" or an executor's name.
    check: raises ValidationError if one couldn't run so, and TensorFlow stood in for it.
    """

    executed: Mapping[str, str]
    check: Callable[[], None] = lambda: None


def engines_of(directory: Path, tags: Sequence[str]) -> dict[str, Engine]:
    """Segment name (the last part of the node's) -> Engine, of a converted SavedModel."""
    meta = find_meta_graph(read_saved_model(directory), directory, tags)
    found = {}
    for node in _nodes(meta.graph_def):
        if node.op != _ENGINE_OP:
            continue
        base = node.name.rpartition("/")[2]
        resource = node.attr["segment_funcdef_name"].s.decode() or base
        asset = directory / "assets" / f"{_ASSET_PREFIX}{base}"
        found[base] = Engine(node.name, resource, asset if asset.exists() else None)
    return found


def _nodes(graph_def: Any) -> Iterator[Any]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


@dataclasses.dataclass(frozen=True)
class SegmentedOriginal:
    """One signature of the original, frozen, and the segments that its conversion cut."""

    frozen: FrozenFunction
    segments: tuple[Segment, ...]
    graphs: Mapping[str, FrozenGraph]  # segment name -> the graph that holds it


def segment_original(
    original: Path, converted: Path, key: str, tags: Sequence[str]
) -> SegmentedOriginal:
    """Freeze the original's signature and find the converted model's segments in it.

    Raises ModelError if the converted model carries no report, or one of another model.
    """
    report = conversion_report(converted)
    if not report:
        raise ModelError(
            f"{converted} carries no conversion report, so its segments can't be told: "
            "convert the original again"
        )
    if report.get("backend") == "stock":
        raise ModelError(
            f"{converted} was converted by TensorFlow's own converter, whose engines hold no graph "
            "to look into: leave blame out, or migrate it"
        )
    loaded = load_model(original, tags, [key])
    frozen = freeze_function(loaded.signatures[key], key)
    graphs = list(_walk(frozen.graph))
    segments, homes = [], {}
    for entry in report["segments"]:
        home = _home(graphs, entry, several=len(report.get("signatures", [])) > 1)
        if home is None:
            continue
        segment = _segment(home, entry)
        segments.append(segment)
        homes[segment.name] = home
    if not segments:
        raise ModelError(
            f"none of {converted}'s segments is in signature {key!r} of {original}: "
            "it was converted from another model, or by another version; convert it again"
        )
    return SegmentedOriginal(frozen, tuple(segments), homes)


def _walk(graph: FrozenGraph) -> Iterator[FrozenGraph]:
    yield graph
    for body in graph.bodies.values():
        yield from _walk(body)


def _home(
    graphs: Sequence[FrozenGraph], entry: Mapping[str, Any], several: bool
) -> FrozenGraph | None:
    """The graph that holds the entry's nodes: the one of its name, else any (names of bodies may
    change from load to load).
    """
    named = [graph for graph in graphs if graph.name == entry["graph"]]
    bodies = [graph for graph in graphs[1:] if graph not in named]
    candidates = [*named, *bodies] if several or named else [*bodies, *graphs[:1]]
    return next((graph for graph in candidates if _holds(graph, entry)), None)


def _holds(graph: FrozenGraph, entry: Mapping[str, Any]) -> bool:
    """Whether the graph has the entry's nodes, and these take nothing but each other and its
    inputs: otherwise it was cut from a graph that was frozen in another way.
    """
    nodes = {node.name: node for node in graph.graph_def.node}
    inside = set(entry["nodes"])
    inputs = {spec["name"] for spec in entry["inputs"]}
    return inside <= nodes.keys() and all(
        name in inputs or node_of(name) in inside
        for node in inside
        for name in data_inputs(nodes[node])
    )


def _segment(graph: FrozenGraph, entry: Mapping[str, Any]) -> Segment:
    nodes = tuple(entry["nodes"])
    return Segment(
        name=entry["name"],
        graph=graph.name,
        nodes=nodes,
        inputs=tuple(graph.tensors[spec["name"]] for spec in entry["inputs"]),
        outputs=tuple(graph.tensors[spec["name"]] for spec in entry["outputs"]),
        weights=tuple(name for name in nodes if name in graph.weights),
        control_inputs=(),
        op_counts=entry["op_counts"],
        copies=tuple(entry.get("copies", ())),
    )
