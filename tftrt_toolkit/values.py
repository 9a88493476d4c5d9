"""What a node's value depends on: constants, shapes, or data.

What doesn't depend on data is copied into each segment that uses it, so that no engine takes a
constant or a shape as an input.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from tftrt_toolkit.artifacts import FrozenGraph, Refusal
from tftrt_toolkit.graph import data_inputs, node_of


class ValueKind(enum.IntEnum):
    """Ordered: a node is at least what the worst of its inputs is.

    SHAPE is what TensorRT computes shapes with; FILLED is made from shapes but is none to it, such
    as zeros, position indices and what is computed from these.
    """

    CONSTANT = 0
    SHAPE = 1
    FILLED = 2
    DATA = 3


SHAPE_SOURCES = frozenset({"Shape", "ShapeN", "Size", "Rank"})

# Ops through which a shape stays a shape for TensorRT.
SHAPE_MATH = frozenset(
    "Add AddV2 BroadcastArgs Cast Concat ConcatV2 EnsureShape Equal ExpandDims FloorDiv FloorMod "
    "Gather GatherV2 Greater GreaterEqual Identity Less LessEqual LogicalAnd LogicalNot LogicalOr "
    "Maximum Minimum Mul Neg NotEqual Pack Prod Reshape Select SelectV2 Slice Split SplitV Squeeze "
    "StopGradient StridedSlice Sub Sum TruncateDiv Unpack".split()
)

CONSTANT_OPS = frozenset({"Const", "ConstV2"})


def value_kind(op: str, inputs: Iterable[ValueKind], *, native: bool) -> ValueKind:
    """The kind of a node of type `op`, from the kinds of the tensors that it takes.

    native: the node was refused, so engines can only take its value as data.
    """
    if native:
        return ValueKind.DATA
    if op in SHAPE_SOURCES:
        return ValueKind.SHAPE
    kinds = list(inputs)
    if not kinds:
        return ValueKind.CONSTANT if op in CONSTANT_OPS else ValueKind.DATA
    worst = max(kinds)
    if worst is ValueKind.SHAPE and op not in SHAPE_MATH:
        return ValueKind.FILLED
    return worst


def value_kinds(graph: FrozenGraph, refusals: Mapping[str, Refusal]) -> dict[str, ValueKind]:
    """Each node of `graph` -> the kind of its value. Linear in the graph."""
    kinds: dict[str, ValueKind] = {}
    for node in graph.graph_def.node:
        if node.name in graph.weights and node.name not in refusals:
            kinds[node.name] = ValueKind.CONSTANT
        else:
            sources = (kinds[node_of(name)] for name in data_inputs(node))
            kinds[node.name] = value_kind(node.op, sources, native=node.name in refusals)
    return kinds
