"""What is known of a model in the zoo, and how to draw its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import ShapeRange

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
SEED = 7


@dataclasses.dataclass(frozen=True)
class ZooModel:
    """One model.

    save: writes the SavedModel, with a `serving_default` signature, into a directory.
    shapes: signature input -> its least, usual and greatest shape.
    draw: signature input -> values of a shape.
    dynamic: whether shapes vary from call to call (`use_dynamic_shape`).
    max_engines, min_fraction: bars: at most so many engines, at least that share of the nodes that
      compute converted; None: recorded only.
    realistic: made-up inputs don't run, so that shapes come from `inputs` (`converter.build`).
    quick: small enough for the unmarked suite.
    """

    name: str
    save: Callable[[Path], None]
    shapes: Mapping[str, ShapeRange]
    draw: Mapping[str, Draw]
    dynamic: bool = True
    max_engines: int | None = None
    min_fraction: float | None = None
    realistic: bool = False
    quick: bool = False

    def inputs(self, seed: int = 0, size: str = "opt") -> dict[str, np.ndarray]:
        """Inputs of the `min`, `opt` or `max` shapes; the same for the same seed."""
        rng = np.random.default_rng((SEED, seed))
        return {
            name: self.draw[name](rng, getattr(shapes, size))
            for name, shapes in self.shapes.items()
        }


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal values, float32."""
    return rng.standard_normal(shape, dtype=np.float32)


def integers(low: int, high: int, dtype: str = "int32") -> Draw:
    """Uniform integers in [low, high)."""
    return lambda rng, shape: rng.integers(low, high, shape).astype(dtype)


def images(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Coarse patterns with some noise, of about unit size: [batch, height, width, channels]."""
    batch, height, width, channels = shape
    coarse = normal(rng, (batch, 5, 5, channels))
    rows, columns = np.arange(height) * 5 // height, np.arange(width) * 5 // width
    return coarse[:, rows][:, :, columns] + np.float32(0.3) * normal(rng, shape)


def pixels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The same as float32 pixel values in [0, 255]."""
    return np.clip(127 + 50 * images(rng, shape), 0, 255).astype(np.float32)


def randomize(model: Any, gain: float = 1.0) -> None:
    """Draw every weight of a Keras model: kernels scaled by their fan-in, the rest near identity.

    gain: the kernels' second moment times the fan-in; 2 keeps the size of activations through ReLU.
    """
    rng = np.random.default_rng(SEED)
    for variable in model.variables:
        if variable.dtype.startswith("float"):
            variable.assign(_draw_weight(rng, variable.path.rsplit("/")[-1], variable.shape, gain))


def _draw_weight(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], gain: float
) -> np.ndarray:
    values = normal(rng, tuple(shape))
    if name == "gamma":
        return 1 + 0.1 * values
    if name in ("beta", "bias", "moving_mean", "mean"):
        return 0.1 * values
    if name in ("moving_variance", "variance"):
        return 1 + 0.1 * np.abs(values)
    if name == "embeddings":
        return values
    return values * np.sqrt(gain / _fan_in(name, shape), dtype=np.float32)


def _fan_in(name: str, shape: tuple[int, ...]) -> int:
    if name == "recurrent_kernel" or len(shape) < 2:
        return int(shape[0])
    if len(shape) == 4 and (name == "depthwise_kernel" or shape[-1] == 1):
        return int(np.prod(shape[:2]))
    if len(shape) == 3 and shape[0] > shape[1] * 2:  # attention: [width, heads, key]
        return int(shape[0])
    return int(np.prod(shape[:-1]))


def settle_batch_norm(model: Any, batch: np.ndarray) -> None:
    """Set moving statistics to those of a batch, so that deep networks keep their scale."""
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.0
    model(batch, training=True)


def settle_classifier(model: Any, batch: np.ndarray, spread: float = 1.0) -> None:
    """Scale the last layer so that its logits have a spread that softmax doesn't flatten."""
    head = model.layers[-1]
    features = type(model)(model.inputs[0], head.input)(batch).numpy()
    head.kernel.assign(head.kernel * (spread / np.std(features @ head.kernel.numpy())))


def save_module(
    directory: Path, function: Any, specs: Mapping[str, tf.TensorSpec], **tracked: Any
) -> None:
    """Write a SavedModel whose one signature is `function(**inputs) -> dict`; keeps `tracked`."""
    module = tf.Module()
    for name, value in tracked.items():
        setattr(module, name, value)
    module.serve = tf.function(function).get_concrete_function(**specs)
    tf.saved_model.save(module, str(directory), signatures={"serving_default": module.serve})
