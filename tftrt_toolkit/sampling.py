"""Sampled inputs for a signature, where the user gives none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.errors import InputError

BATCH = 2  # of an unknown first dimension
UNKNOWN = 8  # of any other


def sample_inputs(
    specs: Mapping[str, tf.TensorSpec],
    shapes: Mapping[str, ShapeRange] | None = None,
    *,
    seed: int = 0,
    batch: int = BATCH,
    unknown: int = UNKNOWN,
) -> dict[str, np.ndarray]:
    """One batch of values by input name; the same seed gives the same values.

    specs: as `inputs.signature_specs` gives them. An unknown first dimension becomes `batch`,
    others become `unknown`, each moved into the input's range in `shapes` where it has one.
    Floats are normal, integers 0 or 1 (most are indices, lengths or classes), uint8 any byte (most
    are images), strings "0" or "1". Raises InputError for an input that no value can be made for.
    """
    random = np.random.default_rng(seed)
    return {
        name: _values(name, spec.dtype, _shape(name, spec, shapes or {}, batch, unknown), random)
        for name, spec in specs.items()
    }


def _shape(
    name: str, spec: tf.TensorSpec, shapes: Mapping[str, ShapeRange], batch: int, unknown: int
) -> tuple[int, ...]:
    limits = shapes.get(name)
    if spec.shape.rank is None:
        if limits is None:
            raise InputError(
                f"input {name!r} has no known rank, so no value can be sampled: give its shapes "
                "in input_shapes"
            )
        sizes: list[int | None] = [None] * len(limits.min)
    else:
        sizes = spec.shape.as_list()
    chosen = []
    for axis, size in enumerate(sizes):
        value = size if size is not None else batch if axis == 0 else unknown
        if size is None and limits is not None:
            value = min(max(value, limits.min[axis]), limits.max[axis])
        chosen.append(value)
    return tuple(chosen)


def _values(
    name: str, dtype: tf.DType, shape: tuple[int, ...], random: np.random.Generator
) -> np.ndarray:
    if dtype.is_floating:
        return random.standard_normal(shape).astype(dtype.as_numpy_dtype)
    if dtype.is_complex:
        parts = random.standard_normal((2, *shape))
        return (parts[0] + 1j * parts[1]).astype(dtype.as_numpy_dtype)
    if dtype == tf.uint8:
        return random.integers(0, 256, shape, np.uint8)
    if dtype == tf.bool or dtype.is_integer:
        return np.asarray(random.integers(0, 2, shape)).astype(dtype.as_numpy_dtype)
    if dtype == tf.string:
        digits = np.array([b"0", b"1"], object)
        return np.asarray(digits[random.integers(0, 2, shape)], object)
    raise InputError(f"input {name!r} is {dtype.name}, of which no value can be sampled")
