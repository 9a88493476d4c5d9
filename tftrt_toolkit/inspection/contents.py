"""Reads what a converted SavedModel says about itself: its protos, its assets and its report."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import AssetError, ModelError
from tftrt_toolkit.manifest import PlanEntry
from tftrt_toolkit.saved_model import find_meta_graph, read_saved_model, size_on_disk

REPORT = Path("assets.extra") / "tftrt_report.json"
_ASSET_PREFIX = "trt-serialized-engine."


def engine_assets(directory: Path | str) -> list[Path]:
    """The files in a SavedModel that hold segments, sorted by name."""
    return sorted(Path(directory, "assets").glob(f"{_ASSET_PREFIX}*"))


def describe(directory: Path | str, tags: Sequence[str] = ("serve",)) -> dict[str, Any]:
    """All that is known of a SavedModel's engines, ready for JSON; sizes are bytes.

    Plans are those in the files now; what wasn't converted, and why, is what the conversion said.
    A damaged asset is told in its entry's `error`. A model that wasn't converted has no segments.

    Raises ModelError if there is no such SavedModel, or its report can't be read.
    """
    directory = Path(directory)
    meta_graph = find_meta_graph(read_saved_model(directory), directory, tags)
    report = read_report(directory)
    converted = {entry["name"]: entry for entry in report.get("segments", ())}
    segments = [_segment(path, converted) for path in engine_assets(directory)]
    return {
        "model": str(directory),
        "model_bytes": size_on_disk(directory),
        "engine_nodes": sum(node.op == "TRTEngineOp" for node in _nodes(meta_graph)),
        "signatures": {
            key: {
                "inputs": _tensor_infos(signature.inputs),
                "outputs": _tensor_infos(signature.outputs),
            }
            for key, signature in sorted(meta_graph.signature_def.items())
            if not key.startswith("__")
        },
        "segments": segments,
        "has_report": bool(report),
        "precision_mode": report.get("params", {}).get("precision_mode"),
        "versions": report.get("versions", {}),
        "converted_nodes": report.get("converted_nodes"),
        "total_nodes": report.get("total_nodes"),
        **{key: report.get(key, []) for key in ("refused", "dropped", "merges", "notes")},
    }


def read_report(directory: Path) -> dict[str, Any]:
    """The report that the conversion left; empty where there is none. Raises ModelError."""
    path = directory / REPORT
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelError(f"{path} can't be read ({error}): remove it or convert anew") from error


def _nodes(meta_graph: Any) -> Iterator[Any]:
    yield from meta_graph.graph_def.node
    for function in meta_graph.graph_def.library.function:
        yield from function.node_def


def _segment(path: Path, converted: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": path.name, "bytes": path.stat().st_size}
    try:
        asset = AssetFile.open(path)
        graph = asset.load_onnx().model.proto.graph if asset.manifest.onnx else None
    except AssetError as error:
        return {"name": path.name.removeprefix(_ASSET_PREFIX), **entry, "error": str(error)}
    manifest = asset.manifest
    reported = converted.get(asset.segment, {})
    return {
        "name": asset.segment,
        **entry,
        "precision": manifest.precision,
        "inputs": [spec.to_json() for spec in asset.inputs],
        "outputs": [spec.to_json() for spec in asset.outputs],
        "onnx_bytes": manifest.onnx.size if manifest.onnx else 0,
        "weights_bytes": manifest.weights.size if manifest.weights else 0,
        "op_counts": reported.get("op_counts", {}),
        "layers": dict(sorted(Counter(node.op_type for node in graph.node).items()))
        if graph
        else {},
        "islands": [dataclasses.asdict(island) for island in manifest.islands],
        "plans": [_plan(plan) for plan in asset.plans],
        "tuned": [dataclasses.asdict(choice) for choice in manifest.tuned],
    }


def _plan(plan: PlanEntry) -> dict[str, Any]:
    return {
        "flavour": plan.flavour,
        "version": plan.version,
        "targets": list(plan.targets),
        "precision": plan.precision,
        "bytes": plan.part.size,
        "seconds": round(plan.seconds, 3),
        "profiles": [
            {
                name: [list(shapes.min), list(shapes.opt), list(shapes.max)]
                for name, shapes in profile.shapes.items()
            }
            for profile in plan.profiles
        ],
    }


def _tensor_infos(infos: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "dtype": tf.dtypes.as_dtype(info.dtype).name,
            "shape": None
            if info.tensor_shape.unknown_rank
            else [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim],
        }
        for name, info in sorted(infos.items())
    }
