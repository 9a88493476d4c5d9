"""One small graph of the op matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Case:
    """A function of an op, and the arrays that it is run on.

    static: the shapes are known; otherwise the first dimension of each input isn't.
    """

    function: Callable
    inputs: tuple[np.ndarray, ...]
    static: bool = False

    @property
    def specs(self) -> list[tf.TensorSpec]:
        """One TensorSpec an input."""
        specs = []
        for index, array in enumerate(self.inputs):
            shape = list(array.shape)
            if shape and not self.static:
                shape[0] = None
            dtype = tf.string if array.dtype == object else array.dtype
            specs.append(tf.TensorSpec(shape, dtype, name=f"x{index}"))
        return specs


def case(function: Callable, *inputs: np.ndarray, static: bool = False) -> Case:
    return Case(function, inputs, static)


def f32(*shape: int, low: float = -2, high: float = 2, seed: int = 0) -> np.ndarray:
    """Floats drawn evenly from [low, high)."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def i32(*shape: int, low: int = -9, high: int = 10, seed: int = 0) -> np.ndarray:
    """Integers drawn evenly from [low, high)."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int32)


def i64(*shape: int, low: int = -9, high: int = 10, seed: int = 0) -> np.ndarray:
    """As i32, of int64."""
    return i32(*shape, low=low, high=high, seed=seed).astype(np.int64)


def boolean(*shape: int, seed: int = 0) -> np.ndarray:
    """Truths and falsehoods."""
    return i32(*shape, low=0, high=2, seed=seed).astype(bool)


def const(*shape: int, low: float = -1, high: float = 1, seed: int = 1) -> tf.Tensor:
    """A constant of the graph."""
    return tf.constant(f32(*shape, low=low, high=high, seed=seed))
