"""`restore_native`: a SavedModel that any TF-TRT converted becomes a plain one again."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow.python.framework import op_def_registry
from tensorflow.python.saved_model import fingerprinting_utils

from tftrt_toolkit.assemble.engine_variables import return_variables
from tftrt_toolkit.assemble.output import check_output, replaced_directory
from tftrt_toolkit.compat import engine_nodes
from tftrt_toolkit.compat.engine_nodes import EngineNode, replace_engines, require_native
from tftrt_toolkit.compat.engine_resources import RESOURCE_OPS, remove_engine_resources
from tftrt_toolkit.compat.soundness import check_meta_graph
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.functions import functions_by_name
from tftrt_toolkit.saved_model import read_saved_model

# Written anew, or about the engines.
_LEFT_OUT = {"saved_model.pb", "saved_model.pbtxt", "fingerprint.pb"}
_REPORT = Path("assets.extra", "tftrt_report.json")
_CALL_OPS = ("PartitionedCall", "StatefulPartitionedCall")


@dataclasses.dataclass(frozen=True)
class Restored:
    """What `restore_native` did.

    engines: names of the nodes that became calls of their native functions.
    assets: file names of the engines that were left out.
    parameters: what the model was converted with, as keyword arguments of TrtGraphConverterV2.
    """

    directory: Path
    engines: tuple[str, ...]
    assets: tuple[str, ...]
    parameters: Mapping[str, Any]


def restore_native(
    saved_model_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> Restored:
    """Write the model of `saved_model_dir` to `output_dir` without engines.

    Each TRTEngineOp becomes a call of its native function; the resources, initializers and assets
    of engines go; signatures, variables, other objects, assets and files stay as they are. Works
    on the protos alone: neither TensorRT nor the ops are needed, under any TensorFlow from 2.17.

    Raises ModelError if the model is damaged, holds no engine, or was saved with native segments
    removed; OutputExistsError if `output_dir` is a file, or isn't empty and `overwrite` isn't set.
    """
    directory, output = Path(saved_model_dir), Path(output_dir)
    check_output(output, overwrite)
    saved_model, engines = inspect_model(directory)
    parameters = conversion_parameters(engines)
    names = tuple(engine.name for engine in engines)
    assets: list[str] = []
    for meta_graph in saved_model.meta_graphs:
        return_variables(meta_graph)
        assets += remove_engine_resources(meta_graph)
        replace_engines(meta_graph.graph_def)
        _refresh_op_list(meta_graph)
    kept = {asset.filename for graph in saved_model.meta_graphs for asset in graph.asset_file_def}
    left_out = {Path("assets", name) for name in assets if name not in kept} | {_REPORT}
    with replaced_directory(output) as fresh:
        _copy_files(directory, fresh, left_out)
        (fresh / "saved_model.pb").write_bytes(saved_model.SerializeToString(deterministic=True))
        if (directory / "fingerprint.pb").exists():
            _write_fingerprint(fresh)
    return Restored(output, names, tuple(assets), parameters)


def _write_fingerprint(directory: Path) -> None:
    try:
        fingerprinting_utils.write_fingerprint(str(directory))
    except ValueError as error:  # its functions' names aren't as TensorFlow writes them
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(f"the model is damaged: it gets no fingerprint ({reason})") from error


def inspect_model(directory: Path) -> tuple[Any, list[EngineNode]]:
    """The checked SavedModel proto of a converted model, and its engines.

    Raises ModelError as `restore_native` does.
    """
    saved_model = read_saved_model(directory)
    engines: list[EngineNode] = []
    for meta_graph in saved_model.meta_graphs:
        try:
            check_meta_graph(meta_graph)
            library = functions_by_name(meta_graph.graph_def)
            found = engine_nodes.all_engine_nodes(meta_graph.graph_def)
            require_native(found, library)
        except ModelError as error:
            raise ModelError(f"{directory}: {error}") from error
        engines += found
    if not engines:
        raise ModelError(
            f"{directory}: it holds no TRTEngineOp, so there is nothing to restore: "
            "use the model as it is"
        )
    return saved_model, engines


def conversion_parameters(engines: list[EngineNode]) -> dict[str, Any]:
    """The converter's arguments that the first engine was made with."""
    attr = engines[0].node.attr

    def value(name: str, field: str, default: Any) -> Any:
        return getattr(attr[name], field) if name in attr else default

    dynamic = not value("_use_implicit_batch", "b", True)
    parameters = {
        "precision_mode": value("precision_mode", "s", b"FP32").decode(errors="replace"),
        "maximum_cached_engines": max(1, value("max_cached_engines_count", "i", 1)),
        "use_calibration": value("use_calibration", "b", True),
        "allow_build_at_runtime": value("_allow_build_at_runtime", "b", True),
        "use_dynamic_shape": dynamic,
    }
    strategy = value("profile_strategy", "s", b"").decode(errors="replace")
    if dynamic and strategy:
        parameters["dynamic_shape_profile_strategy"] = strategy
    return parameters


def _refresh_op_list(meta_graph: Any) -> None:
    """TF-TRT's ops aren't used any more, calls are."""
    operations = meta_graph.meta_info_def.stripped_op_list
    if not operations.op:
        return
    gone = RESOURCE_OPS | {engine_nodes.OP}
    kept = {one.name: one for one in operations.op if one.name not in gone}
    for name in _CALL_OPS:
        definition = op_def_registry.get(name)
        if name not in kept and definition is not None:
            kept[name] = definition
    fresh = type(operations)(op=[kept[name] for name in sorted(kept)])
    operations.CopyFrom(fresh)


def _copy_files(source: Path, target: Path, left_out: set[Path]) -> None:
    """Copy a SavedModel's files but for those left out; links are refused, not followed."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_symlink():
            raise ModelError(
                f"{path} is a link, which could lead outside of the model: put the file there"
            )
        if path.is_dir():
            (target / relative).mkdir(exist_ok=True)
        elif str(relative) not in _LEFT_OUT and relative not in left_out:
            shutil.copyfile(path, target / relative)
    assets = target / "assets"
    if (
        left_out
        and assets.is_dir()
        and not any(assets.iterdir())
        and any((source / "assets").iterdir())
    ):
        assets.rmdir()
