"""What a conversion did, as a dictionary ready for JSON."""

from __future__ import annotations

import csv
import dataclasses
import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from absl import logging

from tftrt_toolkit.accuracy_budget import Budget
from tftrt_toolkit.artifacts import (
    Drop,
    FrozenGraph,
    Merge,
    Plan,
    Refusal,
    Segment,
    Segmentation,
)
from tftrt_toolkit.calibrating import SegmentRanges
from tftrt_toolkit.engines import Engine, EngineSet
from tftrt_toolkit.errors import ConversionError
from tftrt_toolkit.files import replaced_file
from tftrt_toolkit.params import LabelledMetric
from tftrt_toolkit.pipeline import ConvertedSignature
from tftrt_toolkit.precision import WeightSparsity
from tftrt_toolkit.progress import Stages, peak_rss_bytes
from tftrt_toolkit.settings import Settings
from tftrt_toolkit.version import __version__

# Nodes that move or hold data; the share of converted nodes counts those that compute.
BOOKKEEPING_OPS = frozenset(
    "Const Placeholder PlaceholderWithDefault Identity IdentityN NoOp ReadVariableOp VarHandleOp "
    "StopGradient PreventGradient Snapshot _Arg _Retval".split()
)


def build(
    settings: Settings,
    signatures: Sequence[ConvertedSignature],
    engines: EngineSet | None,
    stages: Stages,
) -> dict[str, Any]:
    """The whole report; `engines` is None before any were prepared."""
    graphs = {name: graph for one in signatures for name, graph in one.graphs.items()}
    segmentations = {
        name: result for one in signatures for name, result in one.segmentations.items()
    }
    segments = [segment for result in segmentations.values() for segment in result.segments]
    converted, total = converted_nodes(graphs.values(), segments)
    built = {engine.segment.name: engine for engine in engines.engines} if engines else {}
    merges = [merge for result in segmentations.values() for merge in result.merges]
    return {
        "versions": versions() | (engines.builder_version if engines else {}),
        "params": _params(settings),
        "signatures": [signature.key for signature in signatures],
        "segments": [_segment_entry(segment, built.get(segment.name)) for segment in segments],
        "budgets": [_budget_entry(one) for one in engines.typer.budgets] if engines else [],
        "refused": refused_entries(graphs, segmentations),
        "dropped": [
            _drop_entry(drop) for result in segmentations.values() for drop in result.drops
        ],
        "merges": [merge_sentence(merge) for merge in merges],
        "notes": list(engines.notes) if engines else [],
        "converted_nodes": converted,
        "total_nodes": total,
        "converted_node_fraction": converted / total if total else 0.0,
        "seconds": {stage: round(seconds, 3) for stage, seconds in stages.seconds.items()},
        "peak_rss_bytes": peak_rss_bytes(),
    }


def computes(op: str) -> bool:
    """Whether a node of this op type counts in the share of converted nodes."""
    return op not in BOOKKEEPING_OPS


def converted_nodes(graphs: Iterable[FrozenGraph], segments: Iterable[Segment]) -> tuple[int, int]:
    """How many nodes that compute are in segments, and how many there are."""
    inside: dict[str, set[str]] = defaultdict(set)
    for segment in segments:
        inside[segment.graph].update(segment.nodes)
    total = converted = 0
    for graph in graphs:
        for node in graph.graph_def.node:
            if computes(node.op):
                total += 1
                converted += node.name in inside[graph.name]
    return converted, total


def versions() -> dict[str, str]:
    """The versions of everything that shaped the result."""
    found = {"tftrt_toolkit": __version__, "python": platform.python_version()}
    for package in ("tensorflow", "numpy", "onnx", "tf2onnx", "onnxruntime"):
        found[package] = metadata.version(package)
    return found


def refused_entries(
    graphs: Mapping[str, FrozenGraph], segmentations: Mapping[str, Segmentation]
) -> list[dict[str, Any]]:
    """Refused nodes by op and reason, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    nodes: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, op, refusal in refused_nodes(graphs, segmentations):
        counts[op, refusal.reason] += 1
        nodes[op, refusal.reason].append(name)
    return [
        {"op": op, "count": count, "reason": reason, "nodes": nodes[op, reason]}
        for (op, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def refused_nodes(
    graphs: Mapping[str, FrozenGraph], segmentations: Mapping[str, Segmentation]
) -> Iterable[tuple[str, str, Refusal]]:
    """Node, op and refusal of every refused node that computes."""
    for graph_name, segmentation in segmentations.items():
        ops = {node.name: node.op for node in graphs[graph_name].graph_def.node}
        for node, refusal in segmentation.refusals.items():
            if computes(ops[node]):
                yield node, ops[node], refusal


def merge_sentence(merge: Merge) -> str:
    """What making an op convertible would gain."""
    return f"supporting {merge.op} would join {merge.before} segments into {merge.after}"


def require_engines(report: Mapping[str, Any], model: str, full: bool) -> None:
    """Raise ConversionError if no node converts; with `full`, if any that computes stays native."""
    detail = "; ".join(
        f"{entry['op']} x{entry['count']}: {entry['reason']}" for entry in report["refused"][:3]
    )
    if not report["segments"]:
        dropped = "; ".join(entry["reason"] for entry in report["dropped"][:1])
        reason = detail or dropped or "it computes nothing from its inputs"
        raise ConversionError(
            f"{model}: no part of it can become an engine ({reason}): --dry_run lists every reason"
        )
    missing = report["total_nodes"] - report["converted_nodes"]
    if missing and full:
        raise ConversionError(
            f"{model}: {missing} of {report['total_nodes']} nodes stay native, and full "
            f"conversion was required ({detail})"
        )


def write_detailed(report: Mapping[str, Any], asked: str) -> None:
    """As the stock converter does for TF_TRT_SHOW_DETAILED_REPORT: "1" logs, a path is CSV."""
    if asked == "1":
        for entry in report["refused"]:
            logging.info("native: %s x%d: %s", entry["op"], entry["count"], entry["reason"])
    elif asked not in ("", "0"):
        write_refusals(Path(asked), report)


def write_refusals(path: Path, report: Mapping[str, Any]) -> None:
    """Write refused nodes as CSV: op, count, reason."""
    with replaced_file(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["op", "count", "reason"])
        writer.writerows([row["op"], row["count"], row["reason"]] for row in report["refused"])


def _segment_entry(segment: Segment, engine: Engine | None) -> dict[str, Any]:
    return {
        "name": segment.name,
        "graph": segment.graph,
        "nodes": list(segment.nodes),
        "copies": list(segment.copies),
        "op_counts": dict(sorted(segment.op_counts.items())),
        "inputs": [spec.to_json() for spec in segment.inputs],
        "outputs": [spec.to_json() for spec in segment.outputs],
        "onnx_bytes": engine.onnx_bytes if engine else None,
        "precision": engine.typed.precision if engine and engine.typed else None,
        "islands": [dataclasses.asdict(one) for one in engine.islands] if engine else [],
        "plan_islands": [dataclasses.asdict(one) for one in engine.plan_islands] if engine else [],
        "plans": [_plan_entry(plan) for plan in engine.plans] if engine else [],
        "tuned": [dataclasses.asdict(one) for one in engine.tuned] if engine else [],
        "ranges": _ranges_entry(engine.ranges) if engine and engine.ranges else None,
        "kernels": dataclasses.asdict(engine.kernels) if engine and engine.kernels else None,
        "sparsity": _sparsity_entry(engine.sparsity) if engine and engine.sparsity else None,
    }


def _ranges_entry(ranges: SegmentRanges) -> dict[str, Any]:
    found = ranges.calibration
    return {"source": ranges.source, "batches": found.batches, "samples": found.samples}


def _sparsity_entry(weights: Sequence[WeightSparsity]) -> dict[str, Any]:
    return {
        "weights": len(weights),
        "qualifying": [one.node for one in weights if one.qualifies],
        "others": {one.node: f"{one.sparse} of {one.groups} groups of four have two zeros"
                   for one in weights if not one.qualifies},
    }  # fmt: skip


def _budget_entry(budget: Budget) -> dict[str, Any]:
    return {
        "error": budget.error,
        "first_error": budget.first_error,
        "tried": budget.tried,
        "kept": [dataclasses.asdict(line) for line in budget.overrides],
    }


def _plan_entry(plan: Plan) -> dict[str, Any]:
    return {
        "flavour": plan.flavour,
        "version": plan.version,
        "targets": list(plan.targets),
        "bytes": plan.size,
        "seconds": round(plan.seconds, 3),
    }


def _drop_entry(drop: Drop) -> dict[str, Any]:
    return {"nodes": list(drop.nodes), "graph": drop.graph, "reason": drop.reason}


def _params(settings: Settings) -> dict[str, Any]:
    options = {
        field.name: _plain(getattr(settings.options, field.name))
        for field in dataclasses.fields(settings.options)
    }
    return {
        **settings.params._asdict(),
        "use_dynamic_shape": settings.dynamic_shape,
        "dynamic_shape_profile_strategy": settings.strategy,
        **options,
    }


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, LabelledMetric):
        return getattr(value.function, "__name__", type(value.function).__name__)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
