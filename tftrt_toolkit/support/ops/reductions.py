"""Reductions, scans and sorting along axes."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.checks import constant_input, shape_input, unused_outputs
from tftrt_toolkit.support.dtypes import FLOAT32, FLOATS, NUMBERS
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

reductions = Family("Reductions, scans, sorting")

AXIS = constant_input(1, "axis")

reductions.add("Max", "Min", "Prod", "Sum", T=NUMBERS, checks=(AXIS,))
reductions.add("EuclideanNorm", "Mean", T=FLOATS, checks=(AXIS,))
reductions.add("L2Loss", "LogSoftmax", "Softmax", T=FLOATS)
reductions.add(
    "SoftmaxCrossEntropyWithLogits",
    "SparseSoftmaxCrossEntropyWithLogits",
    T=FLOAT32,
    checks=(unused_outputs(1, "gradients"),),
)
reductions.add("All", "Any", checks=(AXIS,))
reductions.add("ArgMax", "ArgMin", T=NUMBERS, checks=(AXIS,))
reductions.add("Cumsum", T=NUMBERS, checks=(AXIS,))

MOST_K = 3840  # TensorRT's limit


@reductions.check("TopKV2", T=NUMBERS, checks=(shape_input(1, "k"),))
def top_k(node: NodeView) -> Refusal | None:
    """k is at most 3840."""
    k = node.constant(1)
    if k is None or int(k) <= MOST_K:
        return None
    return Refusal("limit", f"k={int(k)} is more than TensorRT's {MOST_K}")
