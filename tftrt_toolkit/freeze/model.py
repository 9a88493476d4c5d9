"""Loads a SavedModel, and says in one line what is wrong with it if it can't be."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_toolkit.artifacts import LoadedModel
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.ref_variables import upgrade_variables
from tftrt_toolkit.saved_model import find_meta_graph, first_line, listed, read_saved_model


def load_model(saved_model_dir: str | Path, tags: Sequence[str] | None = None) -> LoadedModel:
    """Load the SavedModel in `saved_model_dir`; `tags` None or empty means `("serve",)`.

    Raises ModelError when the directory holds none, when its files are damaged, when none of its
    graphs has exactly these tags, or when TensorFlow can't rebuild it.
    """
    directory = Path(saved_model_dir)
    tags = tuple(tags or (tf.saved_model.SERVING,))
    saved_model = read_saved_model(directory)
    upgraded = upgrade_variables(find_meta_graph(saved_model, directory, tags))
    try:
        if upgraded:
            root = _load_upgraded(saved_model, directory, tags)
        else:
            del saved_model  # not needed, and large where weights are Consts
            root = tf.saved_model.load(str(directory), tags=list(tags))
    except (ValueError, KeyError, OSError, RuntimeError, tf.errors.OpError) as error:
        raise ModelError(
            f"the SavedModel in {str(directory)!r} can't be loaded: {first_line(error)}"
        ) from error
    for function in root.signatures.values():
        # Functions hold their variables weakly: the model must live as long as any of them.
        function.saved_model = root
    return LoadedModel(directory, tags, root, dict(root.signatures))


def _load_upgraded(saved_model: Any, directory: Path, tags: tuple[str, ...]) -> Any:
    """Load an edited SavedModel proto with the files of the directory that it came from."""
    with tempfile.TemporaryDirectory() as scratch:
        for path in directory.iterdir():
            if path.name not in ("saved_model.pb", "saved_model.pbtxt"):
                Path(scratch, path.name).symlink_to(path.resolve())
        Path(scratch, "saved_model.pb").write_bytes(saved_model.SerializeToString())
        return tf.saved_model.load(scratch, tags=list(tags))


def signature(model: LoadedModel, key: str) -> Any:
    """The ConcreteFunction of one signature. Raises ModelError listing those there are."""
    if key not in model.signatures:
        raise ModelError(
            f"the SavedModel in {str(model.directory)!r} has no signature {key!r}: "
            f"it has {listed(model.signatures)}"
        )
    return model.signatures[key]
