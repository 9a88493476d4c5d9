"""Casts, and nodes that hand their input on."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.dtypes import ANY, INT8, UINT8
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

casts = Family("Casts and identities")

casts.add(
    *"EnsureShape Identity IdentityN StopGradient".split(),
    T=ANY,
)


@casts.check("Cast", SrcT=ANY | INT8 | UINT8, DstT=ANY | INT8)
def cast(node: NodeView) -> Refusal | None:
    """Rounds, not truncates, floats."""
    if not node.attr("Truncate"):
        return None
    return Refusal("attribute", "Truncate=True cuts floats off where TensorRT rounds them")
