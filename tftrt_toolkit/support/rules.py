"""What the user, the mode and the graph ask of every node, whatever its op."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping

from tftrt_toolkit.artifacts import Refusal, TensorSpec
from tftrt_toolkit.support.dtypes import ENGINE_DTYPES, describe
from tftrt_toolkit.support.view import NodeView
from tftrt_toolkit.values import CONSTANT_OPS, ValueKind

MOST_DIMENSIONS = 8  # TensorRT's limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupportRules:
    """What one conversion asks for.

    dynamic_shape: any dimension may vary; else (the stock default) only the first, and tensors of
      rank 0 and 1 stay native.
    native_ops, native_nodes: op types, and `fnmatch` patterns of node names, to keep native.
    denylist: op types of the environment variable TF_TRT_OP_DENYLIST.
    extra: nodes refused for what was found later: a mapping that failed, a check that disagreed.
    """

    dynamic_shape: bool = False
    native_ops: frozenset[str] = frozenset()
    native_nodes: tuple[str, ...] = ()
    denylist: frozenset[str] = frozenset()
    extra: Mapping[str, Refusal] = dataclasses.field(default_factory=dict)


def refuse_by_request(node: NodeView, rules: SupportRules) -> Refusal | None:
    """What the user or an earlier round of this conversion keeps native."""
    name, op = node.node.name, node.node.op
    if op in rules.denylist:
        return Refusal("denylist", f"{op} is listed in TF_TRT_OP_DENYLIST")
    if op in rules.native_ops:
        return Refusal("native op", f"{op} is among native_ops")
    for pattern in rules.native_nodes:
        if fnmatch.fnmatchcase(name, pattern):
            return Refusal("native node", f"its name matches {pattern!r} among native_nodes")
    return rules.extra.get(name)


def refuse_tensors(node: NodeView) -> Refusal | None:
    """Dtypes, ranks and sizes that no engine takes."""
    # An output that nothing takes isn't mapped: FusedBatchNormV3 yields space for its gradient.
    used = [spec for index, spec in enumerate(node.outputs) if index == 0 or node.is_used(index)]
    for spec in (*node.inputs, *used):
        dtype = spec.dtype.base_dtype.as_datatype_enum
        if dtype not in ENGINE_DTYPES:
            return Refusal("dtype", f"{describe(dtype)} ({spec.name})")
    for spec in (*node.inputs, *used):
        refusal = _refuse_shape(spec)
        if refusal is not None:
            return refusal
    return None


def _refuse_shape(spec: TensorSpec) -> Refusal | None:
    rank = spec.shape.rank
    if rank is None:
        return Refusal("unknown rank", f"the rank of {spec.name} is unknown")
    if rank > MOST_DIMENSIONS:
        return Refusal("rank", f"{spec.name} has rank {rank}, TensorRT knows {MOST_DIMENSIONS}")
    return None


def refuse_in_static_mode(node: NodeView) -> Refusal | None:
    """What the stock converter refuses unless use_dynamic_shape is set.

    Shape computations are exempt: the stock converter's engines hid the batch dimension, ours see
    it, and a shape that stays native would come back to the engine as an input.
    """
    if node.node.op in CONSTANT_OPS:
        return None
    data = [i for i in range(len(node.inputs)) if node.kind(i) is ValueKind.DATA]
    if not data:
        return None
    leading = max((node.inputs[index].shape for index in data), key=lambda shape: shape.rank)
    if leading.rank < 2:
        return Refusal(
            "rank", f"its input has rank {leading.rank}; below 2 needs use_dynamic_shape=True"
        )
    for spec in node.outputs:
        if spec.shape.rank is not None and None in spec.shape.as_list()[1:]:
            return Refusal(
                "dynamic dimension",
                f"{spec.name} has a dynamic dimension other than the batch: {spec.shape}; "
                "use_dynamic_shape=True takes it",
            )
    return None
