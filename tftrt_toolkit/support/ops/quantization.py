"""Quantization written into the graph."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.checks import constant_input
from tftrt_toolkit.support.dtypes import FLOAT32
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

quantization = Family("Quantization")


@quantization.check(
    "QuantizeAndDequantizeV2",
    "QuantizeAndDequantizeV3",
    T=FLOAT32,
    checks=(constant_input(1, "input_min"), constant_input(2, "input_max")),
)
def quantize_and_dequantize(node: NodeView) -> Refusal | None:
    """Signed, 8 bits, with a symmetric range given."""
    low, high = node.constant(1), node.constant(2)
    symmetric = low is not None and high is not None and bool((low == -high).all())
    if node.attr("signed_input") and node.attr("range_given") and symmetric:
        return None
    return Refusal("attribute", "TensorRT quantizes to signed 8 bits with a symmetric range only")
