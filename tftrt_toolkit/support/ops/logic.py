"""Comparisons, boolean logic and selection."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.dtypes import ANY, FLOAT32, FLOATS, NUMBERS
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

logic = Family("Comparison, logic, selection")

logic.add("Greater", "GreaterEqual", "Less", "LessEqual", T=NUMBERS)
logic.add("LogicalAnd", "LogicalNot", "LogicalOr")
logic.add("IsNan", T=FLOATS)
logic.add("IsFinite", "IsInf", T=FLOAT32)
logic.add("SelectV2", T=ANY)


@logic.check("Equal", "NotEqual", T=ANY)
def equality(node: NodeView) -> Refusal | None:
    """Shapes broadcast (incompatible_shape_error=False needs equal known shapes)."""
    x, y = (spec.shape for spec in node.inputs)
    if node.attr("incompatible_shape_error") is not False or (x.is_fully_defined() and x == y):
        return None
    return Refusal(
        "attribute", "incompatible_shape_error=False yields a scalar where shapes don't broadcast"
    )


@logic.check("Select", T=ANY)
def select(node: NodeView) -> Refusal | None:
    """The condition has the rank of the branches."""
    if node.rank(0) == node.rank(1):
        return None
    return Refusal("rank", "a condition of another rank than the branches picks whole rows")
