"""Greatest, least and limited values, of integers and doubles as they are.

tf2onnx takes these through float32, which loses what 24 bits can't hold.
"""

from __future__ import annotations

import numpy as np

from tftrt_toolkit.export.handlers.registry import Rewrite, Unmappable, maps

# What ONNX's Max, Min and TopK take in the common runtimes.
EXACT = frozenset(map(np.dtype, ("float32", "float64", "float16", "int32", "int64")))


@maps("Maximum", "Minimum")
def maximum_minimum(r: Rewrite) -> str:
    """Max and Min; 8 and 16-bit integers by way of int32."""
    op_type = {"Maximum": "Max", "Minimum": "Min"}[r.node.type]
    return _exactly(r, op_type, *r.inputs)


@maps("ClipByValue")
def clip_by_value(r: Rewrite) -> str:
    """min(max(x, low), high), whose limits may be tensors of any shape that broadcasts."""
    x, low, high = r.inputs
    return _exactly(r, "Min", _exactly(r, "Max", x, low), high)


@maps("TopKV2")
def top_k(r: Rewrite) -> tuple[str, str]:
    """The k greatest of the last axis in falling order, and their places as TensorFlow has them."""
    x, k = r.inputs
    values_dtype, places_dtype = (r.dtype(output) for output in r.node.output)
    if r.dtype(x) not in EXACT:
        x = r.cast(x, _wider(r.dtype(x)))
    count = r.emit("Reshape", r.cast(k, np.int64), r.constant([1], np.int64))
    values, places = r.emit_many("TopK", 2, x, count, axis=-1, largest=1, sorted=1)
    return r.cast(values, values_dtype), r.cast(places, places_dtype)


@maps("MaxPool", "MaxPool3D")
def max_pool(r: Rewrite) -> None:
    """As tf2onnx maps it; no runtime pools wide integers, and float32 can't hold them."""
    dtype = r.dtype(r.inputs[0])
    if r.is_integer(r.inputs[0]) and dtype.itemsize > 2:
        raise Unmappable(f"no exact form of max pooling takes {dtype}")
    r.stock()


def _exactly(r: Rewrite, op_type: str, *inputs: str) -> str:
    dtype = r.dtype(inputs[0])
    if dtype in EXACT:
        return r.emit(op_type, *inputs)
    wide = [r.cast(name, _wider(dtype)) for name in inputs]
    return r.cast(r.emit(op_type, *wide), dtype)


def _wider(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.int32 if dtype.itemsize < 4 else np.int64)
