"""Rule: the large negative number of an attention mask becomes one that FP16 holds.

    before   s + (1 - mask) * -1e9        after   s + (1 - mask) * -30000

Softmax gives zero for both. Other large constants aren't touched: clipping them would change what
the model computes.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.precision.islands import FP16_MAX

# Two masks and the scores still add up to less than 65504; exp(-30000) is zero all the same.
MASKED = -30000.0
_ON_THE_WAY = {
    "Add", "Mul", "Sub", "Where", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Expand", "Cast",
    "Concat", "Slice", "Identity", "Min", "Max",
}  # fmt: skip
_REACH = 10


def clamp_masks(graph: Graph) -> set[str]:
    """Clamp constants below -65504 that only reach a Softmax by adding or selecting.

    Returns the tensors on the way: what calibration saw of them is the mask, not the scores.
    """
    masked: set[str] = set()
    for node in graph.nodes:
        if node.op_type not in ("Mul", "Add", "Where"):
            continue
        for index, name in enumerate(node.input):
            value = graph.constant(name) if graph.is_constant(name) else None
            if value is None or value.dtype != np.float32 or not value.size:
                continue
            finite = np.isfinite(value)
            # A mask has one large number, and nothing else but zero and one beside it.
            large = finite & (value < -FP16_MAX)
            usual = np.isin(value[finite & ~large], (0.0, 1.0)).all()
            if large.any() and usual and _reaches_softmax(graph, node, _REACH):
                clamped = np.where(large, np.float32(MASKED), value)
                node.input[index] = graph.add_constant(f"{name}/clamped", clamped)
                masked |= _way_to_softmax(graph, node)
    graph.refresh()
    return masked


def _reaches_softmax(graph: Graph, node: NodeProto, reach: int) -> bool:
    """Whether every way on leads to a Softmax."""
    takers = [taker for output in node.output for taker in graph.consumers(output)]
    if not takers or not reach or set(node.output) & set(graph.outputs):
        return False
    return all(
        taker.op_type == "Softmax"
        or (taker.op_type in _ON_THE_WAY and _reaches_softmax(graph, taker, reach - 1))
        for taker in takers
    )


def _way_to_softmax(graph: Graph, node: NodeProto) -> set[str]:
    way = set(node.output)
    for output in node.output:
        for taker in graph.consumers(output):
            if taker.op_type != "Softmax":
                way |= _way_to_softmax(graph, taker)
    return way
