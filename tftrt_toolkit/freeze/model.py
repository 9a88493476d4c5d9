"""Loads a SavedModel, and says in one line what is wrong with it if it can't be."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_toolkit.artifacts import LoadedModel
from tftrt_toolkit.errors import ModelError, error_line
from tftrt_toolkit.freeze.prune import Pruned, keep_signatures
from tftrt_toolkit.freeze.shared_state import stale_weights
from tftrt_toolkit.ref_variables import upgrade_variables
from tftrt_toolkit.saved_model import find_meta_graph, listed, read_saved_model

# A graph of more bytes has its weights in it: to write it anew would cost more than it saves.
_LARGE_GRAPH = 64 << 20


def load_model(
    saved_model_dir: str | Path,
    tags: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
) -> LoadedModel:
    """Load the SavedModel in `saved_model_dir`; `tags` None or empty means `("serve",)`.

    keys: the signatures that are wanted, if not all: what they don't need may be left out.

    Raises ModelError when the directory holds none, when its files are damaged, when none of its
    graphs has exactly these tags, or when TensorFlow can't rebuild it.
    """
    directory = Path(saved_model_dir)
    tags = tuple(tags or (tf.saved_model.SERVING,))
    saved_model = read_saved_model(directory)
    meta_graph = find_meta_graph(saved_model, directory, tags)
    notes = stale_weights(meta_graph, keys) if keys else ()
    upgraded = upgrade_variables(meta_graph)
    pruned = _prune(saved_model, meta_graph, keys)
    source, scratch = directory, None
    if upgraded or pruned != Pruned():
        scratch = _edited_copy(saved_model, directory)
        source = Path(scratch.name)
    del saved_model, meta_graph  # not needed, and large where weights are Consts
    options = tf.saved_model.LoadOptions(allow_partial_checkpoint=pruned.variables > 0)
    try:
        root = tf.saved_model.load(str(source), list(tags), options)
    except (ValueError, KeyError, OSError, RuntimeError, tf.errors.OpError) as error:
        said = error_line(error).replace(str(source), str(directory))
        raise ModelError(f"the SavedModel in {str(directory)!r} can't be loaded: {said}") from error
    for function in root.signatures.values():
        # Functions hold their variables weakly, and may read assets whenever they are called: the
        # model and its files must live as long as any of them.
        function.saved_model = root, scratch
    if pruned.variables:
        _check_initialized(directory, root.signatures.values())
    return LoadedModel(directory, tags, root, dict(root.signatures), notes)


def _prune(saved_model: Any, meta_graph: Any, keys: Sequence[str] | None) -> Pruned:
    """Take out what isn't needed where that is sure to save time."""
    if keys is None or not meta_graph.HasField("object_graph_def"):
        return Pruned()
    if len(saved_model.meta_graphs) > 1 or saved_model.ByteSize() > _LARGE_GRAPH:
        return Pruned()
    return keep_signatures(meta_graph, keys)


def _check_initialized(directory: Path, functions: Iterable[Any]) -> None:
    """What the loader doesn't check of a checkpoint that may hold more than the model."""
    for function in functions:
        for variable in function.variables:
            if not variable.is_initialized():
                raise ModelError(
                    f"the SavedModel in {str(directory)!r} can't be loaded: its checkpoint has no "
                    f"value of variable {variable.name!r}: export it again"
                )


def _edited_copy(saved_model: Any, directory: Path) -> tempfile.TemporaryDirectory:
    """An edited SavedModel proto, with links to the files of the directory that it came from."""
    scratch = tempfile.TemporaryDirectory(prefix="tftrt_model_")
    for path in directory.iterdir():
        if path.name not in ("saved_model.pb", "saved_model.pbtxt"):
            Path(scratch.name, path.name).symlink_to(path.resolve())
    Path(scratch.name, "saved_model.pb").write_bytes(saved_model.SerializeToString())
    return scratch


def signature(model: LoadedModel, key: str) -> Any:
    """The ConcreteFunction of one signature. Raises ModelError listing those there are."""
    if key not in model.signatures:
        raise ModelError(
            f"the SavedModel in {str(model.directory)!r} has no signature {key!r}: "
            f"it has {listed(model.signatures)}"
        )
    return model.signatures[key]
