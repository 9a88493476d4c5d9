"""`predict()`: pictures or .npz files through a signature, a row an input."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit import images
from tftrt_toolkit.errors import InputError, InvalidArgumentError
from tftrt_toolkit.inputs import bind, read_npz, to_numpy
from tftrt_toolkit.validation.agreement import looks_like_classifier
from tftrt_toolkit.validation.models import Arrays, Runnable
from tftrt_toolkit.validation.sources import LABEL_KEYS, decode_image


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """How to run and what to tell.

    signature_key: which signature. application: Keras application whose preprocessing pictures get;
    None: they are stretched to the input's shape, values scaled to `image_range`. batch_size: of
    pictures, where the signature doesn't fix it. top: best classes of a classifier, 0: all values
    of every output. labels: names of the classes.
    """

    signature_key: str = "serving_default"
    application: str | None = None
    image_range: tuple[float, float] = (0.0, 1.0)
    batch_size: int = 8
    top: int = 5
    labels: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        if self.batch_size < 1:
            raise InvalidArgumentError(f"batch_size={self.batch_size} must be at least 1")
        if self.top < 0:
            raise InvalidArgumentError(f"top={self.top} must be 0 or more")
        if self.application is not None:
            images.application(self.application)


@dataclasses.dataclass(frozen=True)
class Row:
    """What the model says of one input.

    source: its file; index: its place in the file, None for a picture. classes: output -> its best
    classes, of classifiers. values: output -> the input's part of any other.
    """

    source: str
    index: int | None
    classes: Mapping[str, Sequence[images.Prediction]]
    values: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Inputs by name, and where each of the first `len(rows)` comes from."""

    inputs: Mapping[str, np.ndarray]
    rows: Sequence[tuple[str, int | None]]


def predict(
    model: Runnable, paths: Sequence[Path], options: InferenceOptions | None = None
) -> Iterator[Row]:
    """Run a model on files, or on all that directories hold; rows come in the order of names.

    .npz files hold one batch each, arrays by input name; labels in them are passed over.

    Raises InputError if there is no file or one doesn't fit, InvalidArgumentError for an unknown
    signature, ValidationError if the model fails.
    """
    options = options or InferenceOptions()
    if options.signature_key not in model.signatures:
        raise InvalidArgumentError(
            f"{model.name} has no signature {options.signature_key!r}: "
            f"choose from {', '.join(model.signatures)}"
        )
    specs = model.signatures[options.signature_key].inputs
    for batch in _batches(find_files(paths), specs, options):
        outputs = model.run(options.signature_key, batch.inputs)
        yield from _rows(batch, outputs, options)


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The .npz and picture files among paths and in directories. Raises InputError."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (one for one in path.rglob("*") if _known(one))
            found += sorted(inside)
        elif not path.is_file():
            raise InputError(f"there is no file or directory {path}")
        elif _known(path):
            found.append(path)
        else:
            raise InputError(
                f"{path} is no file to run on: use one of .npz, {', '.join(images.SUFFIXES)}"
            )
    if not found:
        raise InputError(f"{', '.join(map(str, paths))} holds no .npz or picture file")
    return found


def _known(path: Path) -> bool:
    return path.suffix.lower() in (".npz", *images.SUFFIXES)


def _batches(
    files: Sequence[Path], specs: Mapping[str, tf.TensorSpec], options: InferenceOptions
) -> Iterator[_Batch]:
    for is_npz, group in itertools.groupby(files, lambda file: file.suffix.lower() == ".npz"):
        if is_npz:
            yield from (_from_npz(file, specs) for file in group)
        else:
            yield from _from_pictures(list(group), specs, options)


def _from_npz(file: Path, specs: Mapping[str, tf.TensorSpec]) -> _Batch:
    content = {k: v for k, v in read_npz(file).items() if k in specs or k not in LABEL_KEYS}
    inputs = {name: to_numpy(one) for name, one in bind(content, specs, str(file)).items()}
    size = next((len(array) for array in inputs.values() if array.ndim), 1)
    return _Batch(inputs, [(str(file), index) for index in range(size)])


def _from_pictures(
    files: Sequence[Path], specs: Mapping[str, tf.TensorSpec], options: InferenceOptions
) -> Iterator[_Batch]:
    if len(specs) != 1:
        raise InputError(f"pictures suit models of one input, this one has {len(specs)}")
    ((name, spec),) = specs.items()
    fixed = spec.shape[0] if spec.shape.rank else None
    size = fixed or options.batch_size
    for start in range(0, len(files), size):
        part = files[start : start + size]
        pictures = [_picture(file, spec, options) for file in part]
        if len({picture.shape for picture in pictures}) > 1:
            raise InputError(
                f"input {name!r} takes pictures of any size, and these differ: set --batch_size=1, "
                "or name the application"
            )
        # A signature of a fixed batch gets its last one filled up.
        pictures += pictures[:1] * ((fixed or len(part)) - len(part))
        yield _Batch({name: np.stack(pictures)}, [(str(file), None) for file in part])


def _picture(file: Path, spec: tf.TensorSpec, options: InferenceOptions) -> np.ndarray:
    if options.application is None:
        return decode_image(file.read_bytes(), spec, options.image_range, str(file))
    if spec.shape.rank != 4 or spec.shape[3] not in (3, None) or not spec.dtype.is_floating:
        raise InputError(
            f"input {spec.name!r} is {spec.dtype.name}{spec.shape}, but the preprocessing of "
            f"{options.application} gives float32 [batch, height, width, 3]: leave it out"
        )
    usual = images.input_size(options.application)
    size = (spec.shape[1] or usual[0], spec.shape[2] or usual[1])
    (found,) = images.preprocess([images.load_image(file)], options.application, size)
    return found.astype(spec.dtype.as_numpy_dtype)


def _rows(batch: _Batch, outputs: Arrays, options: InferenceOptions) -> Iterator[Row]:
    count = len(batch.rows)
    classes, values = {}, {}
    for name, found in outputs.items():
        each: Any = found[:count] if found.ndim and len(found) >= count else [found] * count
        if options.top and looks_like_classifier(name, found):
            classes[name] = images.top_predictions(each, options.top, options.labels)
        else:
            values[name] = each
    for index, (source, place) in enumerate(batch.rows):
        yield Row(
            source=source,
            index=place,
            classes={name: found[index] for name, found in classes.items()},
            values={name: found[index] for name, found in values.items()},
        )
