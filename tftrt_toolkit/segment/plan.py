"""The graph as segmenting sees it, and how its nodes fall into clusters."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tftrt_toolkit.artifacts import FrozenGraph, Refusal
from tftrt_toolkit.graph import data_inputs, node_of
from tftrt_toolkit.segment.cluster import cluster
from tftrt_toolkit.segment.dag import Dag, dag_of_graph
from tftrt_toolkit.segment.rules import PASS_THROUGH
from tftrt_toolkit.values import CONSTANT_OPS, ValueKind, value_kinds


@dataclasses.dataclass(frozen=True)
class Clustering:
    """Clusters of one graph.

    names, labels: of each vertex of `dag`: its node, and its cluster or -1 (native).
    unused: convertible nodes whose outputs nothing takes; they are in no cluster.
    """

    graph: FrozenGraph
    nodes: Mapping[str, Any]
    refusals: Mapping[str, Refusal]
    kinds: Mapping[str, ValueKind]
    dag: Dag
    names: Sequence[str]
    labels: Sequence[int]
    unused: tuple[str, ...]

    @functools.cached_property
    def position(self) -> Mapping[str, int]:
        """Each node's place in the graph's order."""
        return {name: index for index, name in enumerate(self.nodes)}

    def members(self) -> list[list[str]]:
        """Nodes of each cluster, in topological order."""
        found: list[list[str]] = [[] for _ in range(max(self.labels, default=-1) + 1)]
        for name, label in zip(self.names, self.labels, strict=True):
            if label >= 0:
                found[label].append(name)
        return found

    def is_copied(self, name: str) -> bool:
        """Whether a node depends on constants and shapes only."""
        return self.kinds[name] is not ValueKind.DATA

    def is_constant(self, name: str) -> bool:
        """Whether a node is a constant of the graph or a weight."""
        return self.nodes[name].op in CONSTANT_OPS or name in self.graph.weights

    def computes(self, name: str) -> bool:
        """Whether a node counts towards a segment's size as more than a constant."""
        return not self.is_copied(name) and self.nodes[name].op not in PASS_THROUGH

    def has_floats(self, members: Iterable[str]) -> bool:
        """Whether a node that computes takes or yields floating-point data."""
        tensors = self.graph.tensors
        return any(
            tensors[tensor].dtype.is_floating
            for name in members
            if self.computes(name)
            for tensor in (f"{name}:0", *data_inputs(self.nodes[name]))
        )

    def size(self, members: Sequence[str]) -> tuple[int, int]:
        """How many nodes of a cluster compute, and how many constants they take directly."""
        computing = sum(map(self.computes, members))
        constants = {
            node_of(tensor)
            for name in members
            for tensor in data_inputs(self.nodes[name])
            if self.kinds[node_of(tensor)] is ValueKind.CONSTANT
        }
        return computing, len(constants)


def cluster_graph(graph: FrozenGraph, refusals: Mapping[str, Refusal]) -> Clustering:
    """Group the convertible nodes of `graph`. Near-linear in the graph."""
    nodes = {node.name: node for node in graph.graph_def.node}
    kinds = value_kinds(graph, refusals)
    dag, names = dag_of_graph(graph.graph_def.node, kinds)
    alive = _alive(graph, refusals)
    convertible = [name not in refusals and name in alive for name in names]
    return Clustering(
        graph=graph,
        nodes=nodes,
        refusals=refusals,
        kinds=kinds,
        dag=dag,
        names=names,
        labels=cluster(dag, convertible),
        unused=tuple(name for name in names if name not in refusals and name not in alive),
    )


def _alive(graph: FrozenGraph, refusals: Mapping[str, Refusal]) -> set[str]:
    """Nodes that a result or a native node depends on through tensors."""
    alive = {node_of(result) for result in graph.results}
    for node in reversed(graph.graph_def.node):
        if node.name in alive or node.name in refusals:
            alive.update(node_of(tensor) for tensor in data_inputs(node))
    return alive
