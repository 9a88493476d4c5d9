"""One-hot codes, scatters, and searches in sorted values."""

from __future__ import annotations

import numpy as np

from tftrt_toolkit.export.handlers.registry import Rewrite, Unmappable, maps


@maps("OneHot")
def one_hot(r: Rewrite) -> str:
    """Compare with 0 ... depth - 1, so that no index outside is hot; ONNX's OneHot wraps them."""
    indices, depth, on, off = r.inputs
    indices = r.cast(indices, np.int64)
    rank = r.rank(indices)
    axis = r.attribute("axis", -1) % (rank + 1)
    classes = r.emit(
        "Range", r.constant(0, np.int64), r.cast(depth, np.int64), r.constant(1, np.int64)
    )
    trailing = [1] * (rank - axis)
    classes = r.emit("Reshape", classes, r.constant([-1, *trailing], np.int64))
    hot = r.emit("Equal", r.emit("Unsqueeze", indices, r.constant([axis], np.int64)), classes)
    if r.dtype(on) != np.bool_:
        return r.emit("Where", hot, on, off)
    return r.emit("Or", r.emit("And", hot, on), r.emit("And", r.emit("Not", hot), off))


@maps("ScatterNd")
def scatter_nd(r: Rewrite) -> str:
    """Zeros with updates added in: rows that several updates name get their sum."""
    indices, updates, shape = r.inputs
    value = r.value(indices)
    zero = r.cast(r.emit("ConstantOfShape", r.cast(shape, np.int64)), r.dtype(updates))
    indices = r.cast(indices, np.int64)
    if value is not None and _unique(value):
        return r.emit("ScatterND", zero, indices, updates)
    return r.emit("ScatterND", zero, indices, updates, reduction="add")


def _unique(indices: np.ndarray) -> bool:
    rows = indices.reshape(-1, indices.shape[-1])
    return len(np.unique(rows, axis=0)) == len(rows)


@maps("InvertPermutation")
def invert_permutation(r: Rewrite) -> str:
    """The places of 0, 1, 2, ... in x: those of its values in rising order."""
    (x,) = r.inputs
    count = r.emit("Shape", x)
    _, places = r.emit_many("TopK", 2, x, count, axis=0, largest=0, sorted=1)
    return r.cast(places, r.dtype(x))


@maps("Bucketize")
def bucketize(r: Rewrite) -> str:
    """How many boundaries are less than or equal to x."""
    (x,) = r.inputs
    boundaries = r.attribute("boundaries")
    if not boundaries:
        raise Unmappable("there are no boundaries")
    values = r.emit("Unsqueeze", r.cast(x, np.float32), r.constant([-1], np.int64))
    return _count(r, r.emit("GreaterOrEqual", values, r.constant(boundaries, np.float32)))


@maps("LowerBound", "UpperBound")
def bound(r: Rewrite) -> str:
    """How many of each row's sorted values are less than (or equal to) each value of that row."""
    sorted_values, values = r.inputs
    rows = r.emit("Unsqueeze", sorted_values, r.constant([1], np.int64))
    values = r.emit("Unsqueeze", values, r.constant([2], np.int64))
    op_type = {"LowerBound": "Less", "UpperBound": "LessOrEqual"}[r.node.type]
    return _count(r, r.emit(op_type, rows, values))


def _count(r: Rewrite, truths: str) -> str:
    """Number of truths along the last axis, in the dtype of the node's output."""
    ones = r.cast(truths, np.int32)
    total = r.emit("ReduceSum", ones, r.constant([-1], np.int64), keepdims=0)
    return r.cast(total, r.dtype(r.node.output[0]))
