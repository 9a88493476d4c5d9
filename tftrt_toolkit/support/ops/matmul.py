"""Matrix products."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.dtypes import FLOATS
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

matmul = Family("Matrix products")

matmul.add("BatchMatMul", "BatchMatMulV2", "MatMul", T=FLOATS)
matmul.add("Einsum", T=FLOATS)


@matmul.check("BatchMatMulV3", Ta=FLOATS, Tb=FLOATS, Tout=FLOATS)
def batch_matmul_v3(node: NodeView) -> Refusal | None:
    """Inputs and output have one dtype."""
    if len({node.attr("Ta"), node.attr("Tb"), node.attr("Tout")}) == 1:
        return None
    return Refusal("dtype", "inputs and output of a product need one dtype")
