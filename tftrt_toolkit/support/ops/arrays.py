"""Joining, splitting, slicing, padding and turning arrays."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.checks import constant_input, one_of, shape_input
from tftrt_toolkit.support.dtypes import ANY, FLOAT32, FLOATS, INTS
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

arrays = Family("Joining, splitting, slicing, padding")

arrays.add("Pack", "Unpack", T=ANY)
arrays.add("Concat", T=ANY, checks=(constant_input(0, "axis"),))
arrays.add("Split", T=ANY, checks=(constant_input(0, "axis"),))
arrays.add("SplitV", T=ANY, checks=(constant_input(1, "size_splits"), constant_input(2, "axis")))
arrays.add("Slice", T=ANY, checks=(shape_input(1, "begin"), shape_input(2, "size")))
arrays.add(
    "StridedSlice",
    T=ANY,
    checks=(shape_input(1, "begin"), shape_input(2, "end"), constant_input(3, "strides")),
)
arrays.add("Pad", T=ANY, checks=(shape_input(1, "paddings"),))
arrays.add(
    "PadV2",
    T=FLOAT32 | INTS,
    checks=(shape_input(1, "paddings"), constant_input(2, "constant_values")),
)
arrays.add(
    "MirrorPad",
    T=FLOATS | INTS,
    checks=(constant_input(1, "paddings"), one_of("mode", "REFLECT")),
)
arrays.add("ReverseV2", T=ANY, checks=(constant_input(1, "axis"),))
arrays.add("ReverseSequence", T=FLOAT32 | INTS)
arrays.add("Roll", T=FLOATS | INTS, checks=(constant_input(1, "shift"), constant_input(2, "axis")))
arrays.add(
    "MatrixBandPart",
    T=ANY,
    checks=(constant_input(1, "num_lower"), constant_input(2, "num_upper")),
)


@arrays.check("ConcatV2", T=ANY)
def concat(node: NodeView) -> Refusal | None:
    """axis is a constant."""
    if node.constant(len(node.inputs) - 1) is not None:
        return None
    return Refusal("not constant", "axis is not a constant")


@arrays.check("MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3", T=FLOATS)
def diagonal(node: NodeView) -> Refusal | None:
    """k is 0."""
    if len(node.inputs) == 1:
        return None
    k = node.constant(1)
    if k is not None and not k.any():
        return None
    return Refusal("attribute", "only the main diagonal (k=0) converts")


@arrays.check("DynamicStitch", "ParallelDynamicStitch", T=FLOATS | INTS)
def stitch(node: NodeView) -> Refusal | None:
    """indices are constants."""
    count = len(node.inputs) // 2
    if all(node.constant(index) is not None for index in range(count)):
        return None
    return Refusal("data-dependent shape", "output shape depends on data: indices are computed")
