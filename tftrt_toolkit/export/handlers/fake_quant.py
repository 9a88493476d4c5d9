"""Fake quantization, as the float arithmetic that TensorFlow's kernels do.

tf2onnx maps it to Q/DQ pairs of asymmetric uint8, which TensorRT refuses. In this form it is exact
in every precision; for INT8 the precision stage recognises it and makes a symmetric pair of it.
"""

from __future__ import annotations

import numpy as np

from tftrt_toolkit.export.handlers.registry import Rewrite, Unmappable, maps


@maps("FakeQuantWithMinMaxArgs")
def fake_quant_args(r: Rewrite) -> str:
    """A range that is given by attributes."""
    low, high = np.array([r.attribute("min", -6.0), r.attribute("max", 6.0)], np.float32)
    return _fake_quant(r, np.asarray(low), np.asarray(high))


@maps("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel")
def fake_quant_vars(r: Rewrite) -> str:
    """A range that is given by constants; per channel, one for each index of the last dimension."""
    low, high = (r.value(tensor) for tensor in r.inputs[1:3])
    if low is None or high is None:
        raise Unmappable("its range is no constant")
    return _fake_quant(r, low.astype(np.float32), high.astype(np.float32))


def _fake_quant(r: Rewrite, low: np.ndarray, high: np.ndarray) -> str:
    """min(max(x, low'), high'), its distance from low' rounded to whole steps, half up."""
    least = np.float32(1 if r.attribute("narrow_range", False) else 0)
    greatest = np.float32((1 << r.attribute("num_bits", 8)) - 1)
    if not np.all(high > low):
        raise Unmappable("its range is empty")
    # TensorFlow moves the range so that zero is one of the steps.
    step = (high - low) / (greatest - least)
    zero = np.clip(np.floor(least - low / step + np.float32(0.5)), least, greatest)
    low, high = (least - zero) * step, (greatest - zero) * step
    x = r.inputs[0]
    clipped = r.emit("Min", r.emit("Max", x, r.like(low, x)), r.like(high, x))
    steps = r.emit("Mul", r.emit("Sub", clipped, r.like(low, x)), r.like(1 / step, x))
    whole = r.emit("Floor", r.emit("Add", steps, r.like(0.5, x)))
    return r.emit("Add", r.emit("Mul", whole, r.like(step, x)), r.like(low, x))
