"""Where inputs come from: input functions, data sets, directories of files, or a seed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from tftrt_toolkit import images
from tftrt_toolkit.errors import InputError, error_line
from tftrt_toolkit.inputs import InputDirectory, InputFn, bind, iterate, read_npz, to_numpy
from tftrt_toolkit.sampling import sample_inputs

Specs = Mapping[str, tf.TensorSpec]
LABEL_KEYS = ("label", "labels", "y")
_RECORD_SUFFIXES = (".tfrecord", ".tfrecords", ".record")


@dataclasses.dataclass(frozen=True)
class Batch:
    """Inputs by name, and the labels [batch] if there are any."""

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None

    @property
    def size(self) -> int:
        """How many inputs there are: the first dimension, 1 for scalars."""
        shapes = [array.shape for array in self.inputs.values() if array.ndim]
        return shapes[0][0] if shapes else 1


def from_input_fn(input_fn: InputFn, specs: Specs, *, labelled: bool) -> Iterator[Batch]:
    """Batches of an input function, an iterable or a `tf.data.Dataset`.

    Each is an array, a list, a tuple or a dict, as for conversion; with `labelled` it is a pair of
    that and the labels. Raises InputError, which names the batch, for one that doesn't fit.
    """
    for index, item in enumerate(iterate(input_fn, "the input function")):
        what = f"batch {index} of the input function"
        labels = None
        if labelled:
            if not isinstance(item, list | tuple) or len(item) != 2:
                raise InputError(f"{what} isn't a pair of inputs and labels")
            item, labels = item[0], np.asarray(item[1])
        yield _batch(item, labels, specs, what)


def _batch(item: Any, labels: np.ndarray | None, specs: Specs, what: str) -> Batch:
    bound = bind(item, specs, what)
    batch = Batch({name: to_numpy(tensor) for name, tensor in bound.items()}, labels)
    if labels is not None and labels.shape[:1] != (batch.size,):
        raise InputError(f"{what} has {batch.size} inputs, but labels of shape {labels.shape}")
    return batch


def from_seed(specs: Specs, seed: int, batches: int, size: int) -> Iterator[Batch]:
    """Random batches of `size`: normal floats, integers 0 and 1, short strings."""
    for index in range(batches):
        yield Batch(sample_inputs(specs, seed=seed + index, batch=size))


def from_directory(
    directory: Path, specs: Specs, size: int, image_range: tuple[float, float] = (0.0, 1.0)
) -> Iterator[Batch]:
    """Batches from the `.npz`, TFRecord or image files of a directory, in the order of names.

    .npz: one batch a file, arrays by input name, labels as `label`, `labels` or `y`.
    TFRecord: tf.train.Example with a feature for each input, and perhaps one for the label; a bytes
      feature of a numeric input is an encoded image or the tensor's raw bytes.
    Images: one input; resized to its shape, values scaled to `image_range`. In subdirectories, the
      subdirectory's rank among all in the order of names is the label.

    Raises InputError if there is no such file or one doesn't fit.
    """
    if not directory.is_dir():
        raise InputError(f"{directory} is no directory: give one with .npz, TFRecord or images")
    kinds: Sequence[tuple[tuple[str, ...], Callable[[list[Path]], Iterator[Batch]]]] = (
        ((".npz",), lambda files: _from_npz(files, specs)),
        (_RECORD_SUFFIXES, lambda files: _from_records(files, specs, size, image_range)),
        (images.SUFFIXES, lambda files: _from_images(directory, files, specs, size, image_range)),
    )
    for suffixes, read in kinds:
        files = sorted(f for f in directory.rglob("*") if f.suffix.lower() in suffixes)
        if files:
            return read(files)
    raise InputError(f"{directory} holds no .npz, .tfrecord or image file")


def from_input_directory(source: InputDirectory, specs: Specs) -> Iterator[Batch]:
    """What `from_directory` gives for an InputDirectory, up to its `max_batches`."""
    found = from_directory(source.path, specs, source.batch_size, source.image_range)
    return itertools.islice(found, source.max_batches)


def _from_npz(files: list[Path], specs: Specs) -> Iterator[Batch]:
    for file in files:
        found = read_npz(file)
        label = next((key for key in LABEL_KEYS if key in found and key not in specs), None)
        labels = found.pop(label) if label else None
        yield _batch(found, labels, specs, str(file))


def _from_records(
    files: list[Path], specs: Specs, size: int, image_range: tuple[float, float]
) -> Iterator[Batch]:
    rows = (
        _parse_example(record, specs, image_range, file)
        for file in files
        for record in _records(file)
    )
    yield from _collect(rows, specs, size)


def _records(file: Path) -> Iterator[bytes]:
    try:
        for record in tf.data.TFRecordDataset(str(file)):
            yield record.numpy()
    except tf.errors.DataLossError as error:
        raise InputError(f"{file} can't be read as TFRecord: {error_line(error)}") from error


def _from_images(
    directory: Path, files: list[Path], specs: Specs, size: int, image_range: tuple[float, float]
) -> Iterator[Batch]:
    if len(specs) != 1:
        raise InputError(f"images suit models of one input, this one has {len(specs)}")
    ((name, spec),) = specs.items()
    folders = sorted({file.parent for file in files} - {directory})
    ranks = {folder: rank for rank, folder in enumerate(folders)}
    rows = (
        (
            {name: decode_image(file.read_bytes(), spec, image_range, str(file))},
            ranks.get(file.parent),
        )
        for file in files
    )
    yield from _collect(rows, specs, size)


Row = tuple[Mapping[str, np.ndarray], int | None]


def _collect(rows: Iterable[Row], specs: Specs, size: int) -> Iterator[Batch]:
    """Batches of `size` rows; all rows have labels or none has."""
    pending: list[Row] = []
    for row in rows:
        pending.append(row)
        if len(pending) == size:
            yield _stack(pending, specs)
            pending = []
    if pending:
        yield _stack(pending, specs)


def _stack(rows: list[Row], specs: Specs) -> Batch:
    inputs = {name: np.stack([row[0][name] for row in rows]) for name in specs}
    labels = [row[1] for row in rows if row[1] is not None]
    what = "a batch of files"
    return _batch(inputs, np.array(labels) if len(labels) == len(rows) else None, specs, what)


def decode_image(
    data: bytes, spec: tf.TensorSpec, image_range: tuple[float, float], what: str
) -> np.ndarray:
    """An encoded image as [height, width, channels] of `spec` (whose first dimension is the batch).

    Bilinear resizing with antialiasing; values scaled to `image_range`, for integer dtypes 0..255.
    """
    if spec.shape.rank != 4 or spec.shape[3] not in (1, 3):
        raise InputError(f"input {spec.name!r} takes {spec.shape}, not images with 1 or 3 channels")
    _, height, width, channels = spec.shape
    image = images.decode(data, channels, what)
    target = (height or image.shape[0], width or image.shape[1])
    image = tf.image.resize(image, target, antialias=True)
    if spec.dtype.is_floating:
        low, high = image_range
        image = low + image * ((high - low) / 255.0)
    return tf.cast(image, spec.dtype).numpy()


def _parse_example(
    record: bytes, specs: Specs, image_range: tuple[float, float], file: Path
) -> Row:
    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError as error:
        raise InputError(f"{file}: a record is no tf.train.Example: {error}") from error
    inputs = {}
    for name, spec in specs.items():
        if name not in features:
            raise InputError(
                f"{file}: a record has no feature {name!r}, only {', '.join(sorted(features))}"
            )
        inputs[name] = _feature(features[name], spec, image_range, f"{file}: feature {name!r}")
    for key in LABEL_KEYS:
        if key in features and key not in specs:
            return inputs, _label(features[key], f"{file}: feature {key!r}")
    return inputs, None


def _label(feature: Any, what: str) -> int:
    if len(feature.int64_list.value) != 1:
        raise InputError(f"{what} is no label: write it as one int64")
    return int(feature.int64_list.value[0])


def _feature(
    feature: Any, spec: tf.TensorSpec, image_range: tuple[float, float], what: str
) -> np.ndarray:
    kind = feature.WhichOneof("kind")
    values: Any = getattr(feature, kind).value if kind else ()
    dtype = spec.dtype.as_numpy_dtype
    if spec.shape.rank is None or not values:
        raise InputError(f"{what} doesn't fit {spec.shape}: records suit values of a known rank")
    shape = [-1 if dim is None else dim for dim in spec.shape.as_list()[1:]]
    try:
        if kind != "bytes_list" or spec.dtype == tf.string:
            return np.array(list(values), object if spec.dtype == tf.string else dtype).reshape(
                shape
            )
        known = spec.shape[1:].num_elements()
        if known and len(values[0]) == known * spec.dtype.size:
            return np.frombuffer(values[0], dtype).reshape(shape)
    except ValueError as error:
        raise InputError(f"{what} doesn't fit {spec.shape}: {error}") from error
    return decode_image(values[0], spec, image_range, what)
