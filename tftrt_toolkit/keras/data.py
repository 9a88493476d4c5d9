"""Data as `fit` and `evaluate` take it, as batches by input name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.errors import InputError
from tftrt_toolkit.inputs import bind
from tftrt_toolkit.keras.serving import as_name

Arrays = dict[str, np.ndarray]


class DataSlice:
    """The first `max_batches` batches of what `fit` takes as data; anew at each iteration.

    data: arrays (one, a list of them or a dictionary), pairs `(x, y)` or triples
      `(x, y, sample_weight)` of arrays, a `tf.data.Dataset`, a PyDataset or Sequence, or a function
      that returns batches. As in Keras, a tuple is inputs and labels; several inputs are a list or
      a dictionary.
    specs: the model's inputs by name. batch_size: of arrays; the others bring their own batches.

    Raises InputError for an iterator, and, at iteration, for a batch that the model doesn't take.
    """

    def __init__(
        self, data: Any, specs: Mapping[str, tf.TensorSpec], batch_size: int, max_batches: int
    ) -> None:
        if hasattr(data, "__next__"):
            raise InputError(
                "the data is an iterator, which can be read only once: give a function that "
                "returns one, or a tf.data.Dataset"
            )
        self._data = data
        self._specs = specs
        self._batch_size = batch_size
        self._max_batches = max_batches

    def inputs(self) -> Iterator[dict[str, tf.Tensor]]:
        """Batches without their labels."""
        for inputs, _ in self._batches():
            yield inputs

    def labelled(self) -> Iterator[tuple[dict[str, tf.Tensor], np.ndarray]]:
        """Batches with their labels, which `has_classes` told are there."""
        for inputs, labels in self._batches():
            yield inputs, np.asarray(labels).reshape(-1)

    def has_classes(self) -> bool:
        """Whether the labels are class numbers, one an input: what accuracy is computed from."""
        for inputs, labels in self._batches():
            size = next(iter(inputs.values())).shape[0]
            found = None if isinstance(labels, Mapping | list | tuple) else np.asarray(labels)
            return found is not None and found.dtype.kind in "iu" and found.size == size
        return False

    def _batches(self) -> Iterator[tuple[dict[str, tf.Tensor], Any]]:
        items = itertools.islice(_items(self._data, self._batch_size), self._max_batches)
        for index, item in enumerate(items):
            inputs, labels = _split(item)
            yield self._bind(inputs, f"batch {index} of the data"), labels

    def _bind(self, inputs: Any, what: str) -> dict[str, tf.Tensor]:
        if isinstance(inputs, Mapping) and {as_name(key) for key in inputs} == set(self._specs):
            named = {as_name(key): value for key, value in inputs.items()}
        else:
            flat = tf.nest.flatten(inputs)
            if len(flat) != len(self._specs):
                raise InputError(
                    f"{what} has {len(flat)} inputs, but the model takes {list(self._specs)}: "
                    "give (inputs, labels), and several inputs as a list or a dictionary"
                )
            named = dict(zip(self._specs, flat, strict=True))
        cast = {name: _cast(named[name], spec.dtype) for name, spec in self._specs.items()}
        return bind(cast, self._specs, what)


def _cast(value: Any, dtype: tf.DType) -> tf.Tensor:
    """As Keras does: numbers take the input's type."""
    tensor = tf.convert_to_tensor(value)
    castable = tensor.dtype != tf.string and dtype != tf.string
    return tf.cast(tensor, dtype) if castable else tensor


def _split(item: Any) -> tuple[Any, Any]:
    """(inputs, labels or None), by Keras's convention."""
    if isinstance(item, tuple):
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _items(data: Any, batch_size: int) -> Iterator[Any]:
    source = data() if callable(data) else data
    if _is_arrays(source):
        yield from _sliced(source, batch_size)
    elif hasattr(source, "__iter__"):
        yield from source
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__"):  # Keras 3's PyDataset
        yield from (source[index] for index in range(len(source)))
    else:
        raise InputError(
            f"{type(source).__name__} is no data that fit() takes: give arrays, (x, y), a "
            "tf.data.Dataset or a function that returns batches"
        )


def _is_arrays(data: Any) -> bool:
    """Whether it is arrays to slice, not batches."""
    leaves = [leaf for leaf in tf.nest.flatten(data) if leaf is not None]
    return bool(leaves) and all(isinstance(leaf, np.ndarray | tf.Tensor) for leaf in leaves)


def _sliced(data: Any, batch_size: int) -> Iterator[Any]:
    size = len(next(leaf for leaf in tf.nest.flatten(data) if leaf is not None))
    for first in range(0, size, batch_size):
        yield tf.nest.map_structure(
            lambda leaf, first=first: None if leaf is None else leaf[first : first + batch_size],
            data,
        )
