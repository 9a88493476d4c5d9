"""A node as the rules see it: attributes with defaults, its tensors, its constant inputs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tftrt_toolkit.artifacts import FrozenGraph, TensorSpec
from tftrt_toolkit.graph import data_inputs, node_of
from tftrt_toolkit.values import CONSTANT_OPS, ValueKind

# Nodes through which a constant is followed to its Const.
_FORWARDERS = frozenset({"Identity", "StopGradient", "Snapshot", "EnsureShape"})


@functools.cache
def op_def(op: str) -> Any | None:
    """TensorFlow's OpDef of `op`, or None if it isn't registered."""
    return op_def_registry.get(op)


@functools.cache
def _defaults(op: str) -> Mapping[str, Any]:
    definition = op_def(op)
    if definition is None:
        return {}
    return {a.name: a.default_value for a in definition.attr if a.HasField("default_value")}


@dataclasses.dataclass(frozen=True)
class GraphView:
    """A frozen graph, with what is known of the nodes seen so far."""

    graph: FrozenGraph
    nodes: Mapping[str, Any]
    consumed: frozenset[str]
    kinds: dict[str, ValueKind] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, graph: FrozenGraph) -> GraphView:
        """Index `graph`; `kinds` is filled by the caller, in topological order."""
        nodes = {node.name: node for node in graph.graph_def.node}
        consumed = {name for node in nodes.values() for name in data_inputs(node)}
        return cls(graph, nodes, frozenset(consumed | set(graph.results)))

    def node(self, node: Any) -> NodeView:
        """The view of one node."""
        inputs = tuple(self.graph.tensors[name] for name in data_inputs(node))
        return NodeView(self, node, inputs)


@dataclasses.dataclass(frozen=True)
class NodeView:
    """One node; `inputs` are the tensors that it takes."""

    context: GraphView
    node: Any  # tf.compat.v1.NodeDef
    inputs: tuple[TensorSpec, ...]

    @functools.cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that it yields."""
        tensors = self.context.graph.tensors
        found: list[TensorSpec] = []
        while (spec := tensors.get(f"{self.node.name}:{len(found)}")) is not None:
            found.append(spec)
        return tuple(found)

    def attr(self, name: str) -> Any:
        """An attribute as a Python value (types as DataType numbers), or its default, or None."""
        attrs = self.node.attr  # a lookup of a missing key would add it
        value = attrs[name] if name in attrs else _defaults(self.node.op).get(name)
        return None if value is None else _plain(value)

    def kind(self, index: int) -> ValueKind:
        """What the input `index` depends on; a missing optional input is constant."""
        if index >= len(self.inputs):
            return ValueKind.CONSTANT
        return self.context.kinds[node_of(self.inputs[index].name)]

    def constant(self, index: int) -> np.ndarray | None:
        """The value of the input `index` if it is a constant of the graph, else None."""
        if index >= len(self.inputs):
            return None
        graph, name = self.context.graph, node_of(self.inputs[index].name)
        node = self.context.nodes[name]
        while node.op in _FORWARDERS:
            node = self.context.nodes[node_of(node.input[0])]
        if node.name in graph.weights:
            return graph.weights[node.name].value
        if node.op in CONSTANT_OPS:
            return tf.make_ndarray(node.attr["value"].tensor)
        return None

    def rank(self, index: int) -> int | None:
        """The rank of the input `index`, or None."""
        return self.inputs[index].shape.rank

    def is_used(self, output: int) -> bool:
        """Whether anything takes the output `output`."""
        return f"{self.node.name}:{output}" in self.context.consumed


def _plain(value: Any) -> Any:
    field = value.WhichOneof("value")
    if field is None:
        return None
    plain = getattr(value, field)
    if field == "s":
        return plain.decode()
    if field == "list":
        for kind in ("i", "f", "b", "s", "type"):
            items = list(getattr(plain, kind))
            if items:
                return items
        return []
    return plain
