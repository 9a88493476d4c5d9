"""Resizing and colour."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.checks import shape_input
from tftrt_toolkit.support.dtypes import FLOAT32, FLOATS
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

image = Family("Images")

SIZE = shape_input(1, "size")

image.add("ResizeBilinear", T=FLOAT32, checks=(SIZE,))
image.add("ExtractImagePatches", T=FLOATS)
image.add("AdjustContrastv2", "AdjustHue", T=FLOAT32)


@image.check("ResizeNearestNeighbor", T=FLOAT32, checks=(SIZE,))
def resize_nearest(node: NodeView) -> Refusal | None:
    """half_pixel_centers is False, or the size grows by whole factors."""
    if not node.attr("half_pixel_centers") or _grows_by_whole_factors(node):
        return None
    return Refusal(
        "attribute", "TensorRT takes no half pixel centers here, except to grow by whole factors"
    )


def _grows_by_whole_factors(node: NodeView) -> bool:
    size = node.constant(1)
    before = node.inputs[0].shape[1:3].as_list()
    if size is None or None in before:
        return False
    return all(new % old == 0 for new, old in zip(size.tolist(), before, strict=True))
