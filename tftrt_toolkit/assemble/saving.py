"""Writes a converted SavedModel: the original's files, its graph edited, the engines' assets."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow.python.saved_model import fingerprinting_utils

from tftrt_toolkit.artifacts import ConvertedFunction, LoadedModel
from tftrt_toolkit.assemble.engine_variables import keep_variables
from tftrt_toolkit.assemble.graft import (
    add_resources,
    list_assets,
    refresh_op_list,
    replace_signature,
)
from tftrt_toolkit.assemble.graft_tf1 import inline_signature
from tftrt_toolkit.assemble.output import check_output, replaced_directory
from tftrt_toolkit.assemble.resources import engine_resources
from tftrt_toolkit.background import beside
from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.ref_variables import upgrade_variables
from tftrt_toolkit.saved_model import find_meta_graph, read_saved_model

REPORT = "tftrt_report.json"
_GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt", "fingerprint.pb")


def save_model(
    model: LoadedModel,
    converted: Mapping[str, ConvertedFunction],
    assets: Mapping[str, Path],
    output_dir: str | Path,
    *,
    report: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    max_cached_engines_count: int = 1,
) -> None:
    """Write `model` with converted signatures to `output_dir`; may be called again and again.

    converted: signature key -> its converted function; all other signatures, methods, objects,
      tables, assets and files stay as they are in the model's directory, which must be unchanged.
      (In TF1 models reference variables become resource variables, of the same checkpoint.)
    assets: resource name -> the file that becomes its asset `trt-serialized-engine.<segment>`;
      a resource without one gets no initializer, so that its segment runs natively.
    report: goes into `assets.extra/tftrt_report.json`.

    Raises OutputExistsError if `output_dir` is a file, or isn't empty and `overwrite` isn't set;
    ModelError if the model's directory changed. Whatever fails, `output_dir` stays as it was.
    """
    output_dir = Path(output_dir)
    check_output(output_dir, overwrite)
    known = {name for function in converted.values() for name in function.resources.values()}
    if assets.keys() - known:
        raise InternalError(f"no segment has the resource {sorted(assets.keys() - known)[0]!r}")
    saved_model = read_saved_model(model.directory)
    meta_graph = find_meta_graph(saved_model, model.directory, model.tags)
    taken = list_assets(meta_graph)
    files = {resource: _asset_name(resource, taken) for resource in assets}
    sources = {filename: assets[resource] for resource, filename in files.items()}
    with replaced_directory(output_dir) as fresh:
        with beside(_copy_files, model.directory, sources, fresh) as copied:
            _graft(meta_graph, converted, files, max_cached_engines_count)
        copied.result()
        (fresh / "saved_model.pb").write_bytes(saved_model.SerializeToString(deterministic=True))
        if (model.directory / "fingerprint.pb").exists():
            fingerprinting_utils.write_fingerprint(str(fresh))
        if report is not None:
            extra = fresh / "assets.extra"
            extra.mkdir(exist_ok=True)
            (extra / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _graft(
    meta_graph: Any,
    converted: Mapping[str, ConvertedFunction],
    files: Mapping[str, str],
    max_cached_engines_count: int,
) -> None:
    """Put the converted signatures and the engines' resources, whose assets these are, in place."""
    upgrade_variables(meta_graph)
    has_objects = meta_graph.HasField("object_graph_def")
    replace = replace_signature if has_objects else inline_signature
    for key, function in converted.items():
        replace(meta_graph, key, function)
    if files:
        resources = engine_resources(files, max_cached_engines_count)
        add_resources(meta_graph, resources, secrets.token_hex(4))
        if has_objects:
            keep_variables(meta_graph, converted)
    refresh_op_list(meta_graph)


def _asset_name(resource: str, taken: set[str]) -> str:
    """The stock name of a segment's asset, with a number where the model has one of that name."""
    base = f"trt-serialized-engine.{resource.partition('@')[0]}"
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    taken.add(name)
    return name


def _copy_files(source: Path, assets: Mapping[str, Path], target: Path) -> None:
    """Copy a SavedModel but for the files that are written anew; and more assets, by name."""
    shutil.copytree(
        source,
        target,
        ignore=lambda directory, _: _GRAPH_FILES if Path(directory) == source else (),
        dirs_exist_ok=True,
    )
    for filename, path in assets.items():
        (target / "assets").mkdir(exist_ok=True)
        shutil.copyfile(path, target / "assets" / filename)
