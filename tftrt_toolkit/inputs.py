"""What users' input functions yield, bound to a signature's inputs."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.errors import InputError, error_line


@dataclasses.dataclass(frozen=True)
class InputDirectory:
    """A directory of .npz, TFRecord or image files, whose batches stand for an input function's.

    batch_size: of records and images. image_range: values of black and white in images.
    max_batches: at most so many; None: all.
    """

    path: Path
    batch_size: int = 8
    image_range: tuple[float, float] = (0.0, 1.0)
    max_batches: int | None = None


InputFn = Callable[[], Iterable[Any]] | Iterable[Any]
DataSource = InputFn | InputDirectory | str | Path


def signature_specs(function: Any) -> dict[str, tf.TensorSpec]:
    """Input name -> TensorSpec of a signature's ConcreteFunction, in its positional order."""
    args, kwargs = function.structured_input_signature
    specs = dict(kwargs)
    for position, spec in enumerate(tf.nest.flatten(args)):
        specs[getattr(spec, "name", None) or f"args_{position}"] = spec
    order = getattr(function, "_arg_keywords", None) or sorted(specs)
    return {name: specs[name] for name in order if name in specs}


def batches(
    input_fn: InputFn, specs: Mapping[str, tf.TensorSpec], what: str
) -> Iterator[dict[str, tf.Tensor]]:
    """Yield each of the input function's batches as `{input name: tensor}`.

    `input_fn` is a callable that returns an iterable (a generator function, say), or an iterable
    such as a `tf.data.Dataset`. A batch is an array, a list or tuple in the signature's order, or a
    dict by name. Raises InputError, which names the batch's index, if one doesn't fit `specs`.
    """
    for index, batch in enumerate(iterate(input_fn, what)):
        yield bind(batch, specs, f"batch {index} of {what}")


def iterate(input_fn: InputFn, what: str) -> Iterable[Any]:
    """What an input function yields, not bound to anything. Raises InputError if it gives none."""
    source = input_fn() if callable(input_fn) else input_fn
    if source is None or not isinstance(source, Iterable):
        raise InputError(
            f"{what} gives {type(source).__name__}, not batches: write it as a generator function "
            "that yields arrays, lists, tuples or dicts"
        )
    return source


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name. Raises InputError if it is none, or holds objects."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{file} can't be read as .npz: {error_line(error)}: write it with numpy.savez"
        ) from error


def bind(batch: Any, specs: Mapping[str, tf.TensorSpec], what: str) -> dict[str, tf.Tensor]:
    """Bind one batch to the inputs in `specs`; raises InputError if it doesn't fit."""
    values = _by_name(batch, specs, what)
    return {name: _tensor(values[name], spec, name, what) for name, spec in specs.items()}


def to_numpy(tensor: tf.Tensor) -> np.ndarray:
    """A tensor as an array, also where TensorFlow gives bytes, for a lone string."""
    value = tensor.numpy()
    return value if isinstance(value, np.ndarray) else np.array(value, tensor.dtype.as_numpy_dtype)


def _by_name(batch: Any, specs: Mapping[str, tf.TensorSpec], what: str) -> dict[str, Any]:
    names = list(specs)
    if isinstance(batch, Mapping):
        missing = [name for name in names if name not in batch]
        extra = [str(name) for name in batch if name not in specs]
        if missing or extra:
            raise InputError(
                f"{what} has inputs {sorted(map(str, batch))}, but the signature takes {names}"
            )
        return dict(batch)
    items = list(batch) if isinstance(batch, list | tuple) else [batch]
    if len(items) != len(names):
        raise InputError(
            f"{what} has {len(items)} inputs, but the signature takes {len(names)}: {names}"
        )
    return dict(zip(names, items, strict=True))


def _tensor(value: Any, spec: tf.TensorSpec, name: str, what: str) -> tf.Tensor:
    expected = f"{spec.dtype.name}{list(spec.shape) if spec.shape.rank is not None else ''}"
    try:
        tensor = value if tf.is_tensor(value) else _convert(value, spec.dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: input {name!r} is no {expected} tensor: {error}") from error
    if tensor.dtype != spec.dtype or not spec.shape.is_compatible_with(tensor.shape):
        got = f"{tensor.dtype.name}{list(tensor.shape)}"
        raise InputError(f"{what}: input {name!r} is {got}, but the signature takes {expected}")
    return tensor


def _convert(value: Any, dtype: tf.DType) -> tf.Tensor:
    """Convert as TensorFlow does, Python numbers and lists to `dtype`; arrays keep their dtype."""
    if isinstance(value, np.ndarray | np.generic):
        return tf.convert_to_tensor(value)
    return tf.convert_to_tensor(value, dtype=dtype)
