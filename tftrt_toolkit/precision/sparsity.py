"""Which weights have 2:4 structured sparsity: two zeros in every four along the summed dimension.

Kernels for such weights exist from compute capability 8.0 on; `BuildConfig.sparse_weights` lets the
builder use them. Weights that don't qualify aren't changed.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.precision.graph import Graph, attribute
from tftrt_toolkit.precision.prepare import prepare


@dataclasses.dataclass(frozen=True)
class WeightSparsity:
    """One weight: `sparse` of its `groups` of four have at least two zeros."""

    node: str
    op: str
    shape: tuple[int, ...]
    groups: int
    sparse: int

    @property
    def qualifies(self) -> bool:
        """Whether a sparse kernel can take it: every group is sparse."""
        return self.groups > 0 and self.sparse == self.groups


def check_sparsity(model: OnnxModel) -> list[WeightSparsity]:
    """The sparsity of the weight of each Conv, MatMul and Gemm, in the graph's order."""
    graph = Graph(prepare(model))
    found = []
    for node in graph.nodes:
        if node.op_type not in ("Conv", "MatMul", "Gemm"):
            continue
        weight = graph.constant(node.input[1]) if graph.is_constant(node.input[1]) else None
        if weight is None or weight.ndim < 2:
            continue
        summed = 1 if node.op_type == "Conv" or attribute(node, "transB", 0) else weight.ndim - 2
        groups, sparse = _count(weight, summed)
        found.append(WeightSparsity(node.name, node.op_type, weight.shape, groups, sparse))
    return found


def _count(weight: np.ndarray, axis: int) -> tuple[int, int]:
    """Groups of four along an axis, and how many have two zeros; none if it doesn't divide."""
    size = weight.shape[axis]
    if size % 4:
        return 0, 0
    zeros = np.moveaxis(weight == 0, axis, -1).reshape(-1, 4).sum(axis=1)
    return len(zeros), int((zeros >= 2).sum())
