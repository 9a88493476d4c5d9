"""Records what crosses each segment's boundary while a converted function runs natively.

One mechanism serves the check of the ONNX, the shapes of profiles, and calibration; it works inside
loops and branches, where no tensor can be fetched by name.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import Observation, Sample, Segment, TensorSpec

Arrays = tuple[np.ndarray, ...]
_SHAPE_ELEMENTS = 64


@dataclasses.dataclass
class Record:
    """What was seen of one segment: a few whole calls, and the distinct shapes of all of them."""

    segment: Segment
    max_samples: int
    samples: list[Sample] = dataclasses.field(default_factory=list)
    calls: int = 0
    _seen: dict[tuple[Any, ...], Observation] = dataclasses.field(default_factory=dict)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)

    @property
    def observations(self) -> tuple[Observation, ...]:
        """The distinct shapes, and values of shape-like inputs, in the order of first sight."""
        return tuple(self._seen.values())

    def add(self, inputs: Arrays, outputs: Arrays) -> None:
        """Record one call; called from whichever thread ran the segment."""
        pairs = list(zip(self.segment.inputs, inputs, strict=True))
        seen = Observation(
            shapes={spec.name: array.shape for spec, array in pairs},
            values={
                spec.name: tuple(int(value) for value in array.ravel())
                for spec, array in pairs
                if _has_fixed_length(spec)
                and may_be_shape(array.dtype.type, tf.TensorShape(array.shape))
            },
        )
        with self._lock:
            self.calls += 1
            key = (tuple(seen.shapes.values()), tuple(seen.values.values()))
            self._seen.setdefault(key, seen)
            if len(self.samples) < self.max_samples:
                self.samples.append(Sample(inputs, outputs))


def _has_fixed_length(spec: TensorSpec) -> bool:
    """Not so for a vector of indices, one for each row of a batch, which is no shape."""
    return spec.shape.rank is None or spec.shape.is_fully_defined()


def may_be_shape(dtype: type, shape: tf.TensorShape) -> bool:
    """Whether a tensor could be a shape: a small integer vector or scalar, as far as is known."""
    if dtype not in (np.int32, np.int64) or (shape.rank is not None and shape.rank > 1):
        return False
    return (shape.num_elements() or 0) <= _SHAPE_ELEMENTS
