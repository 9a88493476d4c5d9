"""Trial runs of a signature where its user gave no data: at which shapes, on which values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tftrt_toolkit.artifacts import ShapeRange, TensorSpec
from tftrt_toolkit.errors import InputError, InvalidArgumentError
from tftrt_toolkit.inputs import signature_specs
from tftrt_toolkit.sampling import sample_inputs

Shapes = Mapping[str, tuple[int, ...]]  # input name -> shape
# For unknown dimensions behind the batch: small ones are quick, convolutions may need large ones.
_FILLS = (8, 32, 96, 224)


def profile_points(
    specs: Mapping[str, tf.TensorSpec], ranges: Mapping[str, ShapeRange]
) -> tuple[Shapes, Shapes, Shapes] | None:
    """The min, opt and max shapes of all inputs; None if one is open and no range was given.

    Raises InvalidArgumentError if `ranges` don't fit the signature, or leave an input out.
    """
    for name, shapes in ranges.items():
        _check_range(name, shapes, specs)
    points: list[dict[str, tuple[int, ...]]] = [{}, {}, {}]
    for name, spec in specs.items():
        if name in ranges:
            shape_range = ranges[name]
        elif spec.shape.is_fully_defined():
            shape_range = ShapeRange(*[tuple(spec.shape.as_list())] * 3)
        elif ranges:
            raise InvalidArgumentError(
                f"input_shapes says nothing of input {name!r}, whose shape is {spec.shape}: "
                "give its min, opt and max shape too"
            )
        else:
            return None
        shapes_of = (shape_range.min, shape_range.opt, shape_range.max)
        for point, shape in zip(points, shapes_of, strict=True):
            point[name] = shape
    return points[0], points[1], points[2]


def guessed_batches(
    function: Any, ranges: Mapping[str, ShapeRange]
) -> Iterator[dict[str, tf.Tensor]]:
    """Made-up batches to try until a function runs on one; small unknown dimensions first."""
    specs = signature_specs(function)
    tried: list[list[tf.TensorShape]] = []
    for fill in _FILLS:
        try:
            batch = _tensors(specs, sample_inputs(specs, ranges, unknown=fill))
        except InputError as error:
            logging.info("no input can be made up: %s", error)
            return
        shapes = [tensor.shape for tensor in batch.values()]
        if shapes not in tried:
            tried.append(shapes)
            yield batch


def make_batch(specs: Mapping[str, tf.TensorSpec], shapes: Shapes) -> dict[str, tf.Tensor]:
    """Made-up values of the given shapes; the same at each call."""
    concrete = {name: tf.TensorSpec(shapes[name], spec.dtype) for name, spec in specs.items()}
    return _tensors(specs, sample_inputs(concrete))


def segment_inputs(specs: Sequence[TensorSpec]) -> tuple[np.ndarray, ...]:
    """Made-up arrays for a segment. Raises InputError where a rank isn't known."""
    named = {spec.name: tf.TensorSpec(spec.shape, spec.dtype) for spec in specs}
    return tuple(sample_inputs(named).values())


def _tensors(
    specs: Mapping[str, tf.TensorSpec], values: Mapping[str, np.ndarray]
) -> dict[str, tf.Tensor]:
    return {name: tf.constant(values[name], spec.dtype) for name, spec in specs.items()}


def _check_range(name: str, shapes: ShapeRange, specs: Mapping[str, tf.TensorSpec]) -> None:
    if name not in specs:
        raise InvalidArgumentError(
            f"input_shapes names {name!r}, but the signature's inputs are {', '.join(specs)}"
        )
    for shape in (shapes.min, shapes.opt, shapes.max):
        if not specs[name].shape.is_compatible_with(shape):
            raise InvalidArgumentError(
                f"input_shapes gives {name!r} the shape {list(shape)}, but the signature takes "
                f"{specs[name].shape}"
            )
