"""Loads a SavedModel, and says in one line what is wrong with it if it can't be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_toolkit.artifacts import LoadedModel
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.saved_model import find_meta_graph, first_line, listed, read_saved_model


def load_model(saved_model_dir: str | Path, tags: Sequence[str] | None = None) -> LoadedModel:
    """Load the SavedModel in `saved_model_dir`; `tags` None or empty means `("serve",)`.

    Raises ModelError when the directory holds none, when its files are damaged, when none of its
    graphs has exactly these tags, or when TensorFlow can't rebuild it.
    """
    directory = Path(saved_model_dir)
    tags = tuple(tags or (tf.saved_model.SERVING,))
    find_meta_graph(read_saved_model(directory), directory, tags)
    try:
        root = tf.saved_model.load(str(directory), tags=list(tags))
    except (ValueError, KeyError, OSError, RuntimeError, tf.errors.OpError) as error:
        raise ModelError(
            f"the SavedModel in {str(directory)!r} can't be loaded: {first_line(error)}"
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
            f"it has {listed(model.signatures)}"
        )
    return model.signatures[key]
