"""The SavedModel proto: reading it, and finding a graph in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import message, text_format
from tensorflow.core.protobuf import saved_model_pb2

from tftrt_toolkit.errors import ModelError, error_line


def read_saved_model(directory: Path) -> Any:
    """The SavedModel proto of a directory. Raises ModelError if it is missing or damaged."""
    try:
        if (directory / "saved_model.pb").is_file():
            return saved_model_pb2.SavedModel.FromString(
                (directory / "saved_model.pb").read_bytes()
            )
        text = (directory / "saved_model.pbtxt").read_text(encoding="utf-8")
        return text_format.Parse(text, saved_model_pb2.SavedModel())
    except FileNotFoundError:
        raise ModelError(
            f"no SavedModel in {str(directory)!r}: the directory must hold saved_model.pb or "
            "saved_model.pbtxt"
        ) from None
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(
            f"the SavedModel in {str(directory)!r} is damaged ({error_line(error)}): "
            "export it again"
        ) from error


def find_meta_graph(saved_model: Any, directory: Path, tags: Sequence[str]) -> Any:
    """The MetaGraphDef that has exactly these tags. Raises ModelError listing those there are."""
    groups = [set(graph.meta_info_def.tags) for graph in saved_model.meta_graphs]
    if not groups:
        raise ModelError(
            f"the SavedModel in {str(directory)!r} is damaged (it holds no graph): export it again"
        )
    if set(tags) not in groups:
        tags_of_graphs = "; ".join(listed(group) for group in groups)
        raise ModelError(
            f"the SavedModel in {str(directory)!r} has no graph tagged {listed(tags)}: "
            f"the tags of its graphs are {tags_of_graphs}"
        )
    return saved_model.meta_graphs[groups.index(set(tags))]


def signature_objects(objects: Any) -> dict[str, int]:
    """Signature key -> the number of its function among a SavedObjectGraph's objects."""
    root = objects.nodes[0].children if objects.nodes else ()
    signatures = next((one.node_id for one in root if one.local_name == "signatures"), None)
    children = () if signatures is None else objects.nodes[signatures].children
    return {
        child.local_name: child.node_id
        for child in children
        if objects.nodes[child.node_id].HasField("bare_concrete_function")
    }


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a directory; 0 if there is none."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def listed(names: Iterable[str]) -> str:
    """Names for an error message."""
    return ", ".join(repr(name) for name in sorted(names)) or "none"
