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
    "QuantizeAndDequantizeV4",
    T=FLOAT32,
    checks=(constant_input(1, "input_min"), constant_input(2, "input_max")),
)
def quantize_and_dequantize(node: NodeView) -> Refusal | None:
    """Signed, 8 bits, half to even, with a range given."""
    bits = node.constant(3) if len(node.inputs) > 3 else node.attr("num_bits")
    rounding = node.attr("round_mode") or "HALF_TO_EVEN"
    if (
        node.attr("signed_input")
        and node.attr("range_given")
        and bits is not None
        and int(bits) == 8
        and rounding == "HALF_TO_EVEN"
    ):
        return None
    return Refusal("attribute", "TensorRT quantizes to signed 8 bits, half to even, a range given")


quantization.add("FakeQuantWithMinMaxArgs")
quantization.add(
    "FakeQuantWithMinMaxVars",
    "FakeQuantWithMinMaxVarsPerChannel",
    checks=(constant_input(1, "min"), constant_input(2, "max")),
)
