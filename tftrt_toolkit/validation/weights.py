"""Weights of a segment that aren't the same in the two SavedModels' checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import FrozenGraph, Segment


def changed_weights(
    graph: FrozenGraph, segment: Segment, original: Path, converted: Path
) -> list[str]:
    """Weight nodes of the segment whose variable has other values in the converted model.

    A variable of the checkpoint is known by its values; all that are compared are those that
    changed.
    """
    before, after = (_checkpoint(directory) for directory in (original, converted))
    found = []
    for key, shape in before.get_variable_to_shape_map().items():
        if not after.has_tensor(key):
            continue
        old, new = before.get_tensor(key), after.get_tensor(key)
        if not isinstance(old, np.ndarray) or _same(old, new):
            continue
        found += [
            name
            for name in segment.weights
            if list(graph.weights[name].value.shape) == list(shape)
            and _same(graph.weights[name].value, old)
        ]
    return found


def _checkpoint(directory: Path) -> tf.train.CheckpointReader:
    return tf.train.load_checkpoint(str(directory / "variables" / "variables"))


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
