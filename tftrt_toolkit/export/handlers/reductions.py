"""Norms."""

from __future__ import annotations

import numpy as np

from tftrt_toolkit.export.handlers.registry import Rewrite, Unmappable, maps


@maps("L2Loss")
def l2_loss(r: Rewrite) -> str:
    """sum(x ** 2) / 2, a scalar."""
    (x,) = r.inputs
    return r.emit("Mul", r.emit("ReduceSumSquare", x, keepdims=0), r.like(0.5, x))


@maps("EuclideanNorm")
def euclidean_norm(r: Rewrite) -> str:
    """sqrt(sum(x ** 2)) over some axes."""
    x, axes = r.inputs
    if r.shape(axes) == [0]:
        raise Unmappable("a norm over no axis has no ONNX form")
    axes = r.emit("Reshape", r.cast(axes, np.int64), r.constant([-1], np.int64))
    return r.emit("ReduceL2", x, axes, keepdims=r.attribute("keep_dims", 0))
