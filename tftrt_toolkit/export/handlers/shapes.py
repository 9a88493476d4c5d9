"""Shapes as values."""

from __future__ import annotations

import numpy as np

from tftrt_toolkit.export.handlers.registry import Rewrite, Unmappable, maps


@maps("ShapeN")
def shape_n(r: Rewrite) -> list[str]:
    """The shape of each input."""
    dtype = r.dtype(r.node.output[0])
    return [r.cast(r.emit("Shape", name), dtype) for name in r.inputs]


@maps("BroadcastArgs")
def broadcast_args(r: Rewrite) -> str:
    """The shape that two shapes broadcast to, as the shape of a tensor that was broadcast."""
    first, second = r.inputs
    if -1 in ((r.shape(first) or [-1]) + (r.shape(second) or [-1])):
        raise Unmappable("the rank that the shapes stand for is unknown")
    zeros = r.emit("ConstantOfShape", r.cast(first, np.int64))
    shape = r.emit("Shape", r.emit("Expand", zeros, r.cast(second, np.int64)))
    return r.cast(shape, r.dtype(r.node.output[0]))
