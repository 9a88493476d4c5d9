"""Shapes: reading them, and giving tensors new ones."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.checks import constant_input, rank_of, shape_input
from tftrt_toolkit.support.dtypes import ANY, FLOATS, INTS, UINT8
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

shapes = Family("Shapes")

shapes.add("Rank", "Shape", "ShapeN", "Size", T=ANY | UINT8)
shapes.add("BroadcastArgs", T=INTS)
# Squeeze without an axis yields an unknown rank where it depends on data, which is refused.
shapes.add("Squeeze", T=ANY)
shapes.add("Reshape", T=ANY, checks=(shape_input(1, "shape"),))
shapes.add("ExpandDims", T=ANY, checks=(constant_input(1, "axis"),))
shapes.add("Transpose", T=ANY, checks=(constant_input(1, "perm"),))
shapes.add("BroadcastTo", T=ANY, checks=(shape_input(1, "shape"),))
shapes.add("Tile", T=ANY, checks=(shape_input(1, "multiples"),))
shapes.add(
    "SpaceToBatchND",
    T=FLOATS,
    checks=(constant_input(1, "block_shape"), constant_input(2, "paddings")),
)
shapes.add(
    "BatchToSpaceND",
    T=FLOATS,
    checks=(constant_input(1, "block_shape"), constant_input(2, "crops")),
)


@shapes.check("SpaceToDepth", "DepthToSpace", T=FLOATS, checks=(rank_of(0, "input", 4),))
def space_and_depth(node: NodeView) -> Refusal | None:
    """data_format is NHWC."""
    layout = node.attr("data_format")
    if layout == "NHWC":
        return None
    return Refusal("attribute", f"data_format={layout} doesn't convert, only NHWC")


shapes.add("Fill", T=ANY, checks=(shape_input(0, "dims"),))
shapes.add("OnesLike", "ZerosLike", T=ANY)
shapes.add(
    "Range",
    Tidx=FLOATS | INTS,
    checks=(shape_input(0, "start"), shape_input(1, "limit"), shape_input(2, "delta")),
)
