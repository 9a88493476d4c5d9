"""Convolutions."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.checks import rank_of, shape_input
from tftrt_toolkit.support.dtypes import FLOATS
from tftrt_toolkit.support.registry import Check, Family
from tftrt_toolkit.support.view import NodeView

convolution = Family("Convolution")


def known_channels(index: int) -> Check:
    """The input `index` must have a static number of channels."""

    def check(node: NodeView) -> Refusal | None:
        """The number of channels and the kernel's size are static."""
        layout = node.attr("data_format") or "NHWC"
        shape = node.inputs[index].shape
        kernel = node.inputs[1].shape
        if shape[layout.index("C")] is not None and kernel.is_fully_defined():
            return None
        return Refusal(
            "dynamic dimension", "the number of channels or the kernel's size is unknown"
        )

    return check


convolution.add(
    "Conv2D", "DepthwiseConv2dNative", T=FLOATS, checks=(rank_of(0, "input", 4), known_channels(0))
)
convolution.add("Conv3D", T=FLOATS, checks=(rank_of(0, "input", 5), known_channels(0)))
convolution.add(
    "Conv2DBackpropInput",
    T=FLOATS,
    checks=(shape_input(0, "input_sizes"), rank_of(2, "input", 4), known_channels(2)),
)
convolution.add(
    "Conv3DBackpropInputV2",
    T=FLOATS,
    checks=(shape_input(0, "input_sizes"), rank_of(2, "input", 5), known_channels(2)),
)
