"""The stage: each node that stays native, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tftrt_toolkit.artifacts import FrozenGraph, Refusal
from tftrt_toolkit.graph import data_inputs, node_of
from tftrt_toolkit.support import ops  # noqa: F401  (registers the rules)
from tftrt_toolkit.support.dtypes import UINT8
from tftrt_toolkit.support.registry import find_rule
from tftrt_toolkit.support.rules import (
    SupportRules,
    refuse_by_request,
    refuse_in_static_mode,
    refuse_tensors,
)
from tftrt_toolkit.support.unsupported import refuse_unregistered
from tftrt_toolkit.support.view import GraphView, NodeView
from tftrt_toolkit.values import CONSTANT_OPS, ValueKind, value_kind


def support_map(graph: FrozenGraph, rules: SupportRules) -> Mapping[str, Refusal]:
    """Refused nodes of `graph` -> why. A node that isn't named may run in an engine.

    Linear in the graph. Bodies of loops and branches are graphs of their own: ask for each.
    """
    context = GraphView.of(graph)
    arguments = frozenset(graph.arguments)
    refusals: dict[str, Refusal] = {}
    for node in graph.graph_def.node:
        refusal = _refuse(context.node(node), rules, arguments)
        if refusal is not None:
            refusals[node.name] = refusal
        context.kinds[node.name] = _kind(context, node, native=refusal is not None)
    return refusals


def _refuse(node: NodeView, rules: SupportRules, arguments: frozenset[str]) -> Refusal | None:
    """The first reason wins: the graph's own, the user's, the tensors', the op's, the mode's."""
    name, op = node.node.name, node.node.op
    if name in arguments:
        return Refusal("argument", "it is an input of the graph")
    asked = refuse_by_request(node, rules)
    if asked is not None:
        return asked
    if op in CONSTANT_OPS or name in node.context.graph.weights:
        return _refuse_constant(node)
    rule = find_rule(op)
    if rule is None:
        unregistered = refuse_unregistered(op)
        # A string or a resource tells more than "no mapping".
        return (refuse_tensors(node) or unregistered) if _is_vague(unregistered) else unregistered
    return (
        refuse_tensors(node)
        or rule.refusal(node)
        or (None if rules.dynamic_shape else refuse_in_static_mode(node))
    )


def _is_vague(refusal: Refusal) -> bool:
    return refusal.rule in ("no mapping", "stateful")


def _refuse_constant(node: NodeView) -> Refusal | None:
    refusal = refuse_tensors(node)
    if refusal is None and node.outputs[0].dtype.as_datatype_enum in UINT8:
        return Refusal("dtype", "TensorRT has no uint8 constants")
    return refusal


def _kind(context: GraphView, node: Any, *, native: bool) -> ValueKind:
    if node.name in context.graph.weights and not native:
        return ValueKind.CONSTANT
    sources = (context.kinds[node_of(name)] for name in data_inputs(node))
    return value_kind(node.op, sources, native=native)
