"""Loads a SavedModel, and says in one line what is wrong with it if it can't be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import message, text_format
from tensorflow.core.protobuf import saved_model_pb2

from tftrt_toolkit.artifacts import LoadedModel
from tftrt_toolkit.errors import ModelError


def load_model(saved_model_dir: str | Path, tags: Sequence[str] | None = None) -> LoadedModel:
    """Load the SavedModel in `saved_model_dir`; `tags` None or empty means `("serve",)`.

    Raises ModelError when the directory holds none, when its files are damaged, when none of its
    graphs has exactly these tags, or when TensorFlow can't rebuild it.
    """
    directory = Path(saved_model_dir)
    tags = tuple(tags or (tf.saved_model.SERVING,))
    _check_tags(directory, tags)
    try:
        root = tf.saved_model.load(str(directory), tags=list(tags))
    except (ValueError, KeyError, OSError, RuntimeError, tf.errors.OpError) as error:
        raise ModelError(
            f"the SavedModel in {str(directory)!r} can't be loaded: {_first_line(error)}"
        ) from error
    for function in root.signatures.values():
        # Functions hold their variables weakly: the model must live as long as any of them.
        function.saved_model = root
    return LoadedModel(directory, tags, root, dict(root.signatures))


def signature(model: LoadedModel, key: str) -> Any:
    """The ConcreteFunction of one signature. Raises ModelError listing those there are."""
    if key not in model.signatures:
        raise ModelError(
            f"the SavedModel in {str(model.directory)!r} has no signature {key!r}: "
            f"it has {_listed(model.signatures)}"
        )
    return model.signatures[key]


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
            f"the SavedModel in {str(directory)!r} is damaged ({_first_line(error)}): "
            "export it again"
        ) from error


def _check_tags(directory: Path, tags: tuple[str, ...]) -> None:
    available = [set(graph.meta_info_def.tags) for graph in read_saved_model(directory).meta_graphs]
    if not available:
        raise ModelError(
            f"the SavedModel in {str(directory)!r} is damaged (it holds no graph): export it again"
        )
    if set(tags) not in available:
        listed = "; ".join(_listed(group) or "no tag at all" for group in available)
        raise ModelError(
            f"the SavedModel in {str(directory)!r} has no graph tagged {_listed(tags)}: "
            f"the tags of its graphs are {listed}"
        )


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
