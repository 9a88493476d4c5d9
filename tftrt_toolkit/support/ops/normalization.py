"""Normalisation layers that are ops of their own."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.checks import unused_outputs
from tftrt_toolkit.support.dtypes import FLOATS
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

normalization = Family("Normalization")


@normalization.check(
    "FusedBatchNorm",
    "FusedBatchNormV2",
    "FusedBatchNormV3",
    T=FLOATS,
    checks=(unused_outputs(1, "batch statistics"),),
)
def fused_batch_norm(node: NodeView) -> Refusal | None:
    """Rank 4, and if is_training, exponential_avg_factor=1."""
    if node.attr("is_training") and node.attr("exponential_avg_factor") not in (None, 1.0):
        return Refusal("attribute", "is_training=True blends statistics, as only training needs")
    if node.rank(0) != 4:
        return Refusal("rank", f"input has rank {node.rank(0)}, conversion needs 4")
    return None


normalization.add("LRN", T=FLOATS)
