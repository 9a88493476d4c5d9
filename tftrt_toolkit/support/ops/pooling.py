"""Pooling."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.checks import constant_input
from tftrt_toolkit.support.dtypes import FLOATS
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

pooling = Family("Pooling")


@pooling.check("AvgPool", "AvgPool3D", "MaxPool", "MaxPool3D", T=FLOATS)
def pool(node: NodeView) -> Refusal | None:
    """The window spans neither batch nor channels."""
    window, strides = node.attr("ksize"), node.attr("strides")
    layout = node.attr("data_format") or "NHWC"
    if all(window[layout.index(axis)] == strides[layout.index(axis)] == 1 for axis in "NC"):
        return None
    return Refusal("attribute", "TensorRT doesn't pool over the batch or over channels")


pooling.add(
    "MaxPoolV2", T=FLOATS, checks=(constant_input(1, "ksize"), constant_input(2, "strides"))
)
