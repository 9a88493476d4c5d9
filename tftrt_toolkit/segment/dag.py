"""A graph of whole numbers: what clustering works on. Vertices stand in topological order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.graph import sources_of
from tftrt_toolkit.values import ValueKind


@dataclasses.dataclass(frozen=True)
class Dag:
    """predecessors[v], successors[v]: vertices, each listed once; u < v for every edge u -> v."""

    predecessors: Sequence[Sequence[int]]
    successors: Sequence[Sequence[int]]

    def __len__(self) -> int:
        """The number of vertices."""
        return len(self.predecessors)

    @classmethod
    def from_predecessors(cls, predecessors: Sequence[Iterable[int]]) -> Dag:
        """Build both directions. Raises InternalError on an edge that runs backwards."""
        unique = [sorted(set(sources)) for sources in predecessors]
        successors: list[list[int]] = [[] for _ in unique]
        for vertex, sources in enumerate(unique):
            if sources and sources[-1] >= vertex:
                raise InternalError(f"vertex {vertex} stands before its input {sources[-1]}")
            for source in sources:
                successors[source].append(vertex)
        return cls(unique, successors)


def dag_of_graph(
    nodes: Iterable[Any], kinds: Mapping[str, ValueKind]
) -> tuple[Dag, tuple[str, ...]]:
    """Data and control edges between the nodes that aren't constants, and the vertices' names.

    Constants are copied to where they are used, so they join nothing. A control input of a constant
    counts as one of each node that takes it.
    """
    names: list[str] = []
    vertices: dict[str, int] = {}
    hoisted: dict[str, set[int]] = {}
    predecessors: list[set[int]] = []
    for node in nodes:
        sources: set[int] = set()
        for source in sources_of(node):
            vertex = vertices.get(source)
            if vertex is not None:
                sources.add(vertex)
            elif source in hoisted:
                sources |= hoisted[source]
            else:
                raise InternalError(f"node {node.name!r} stands before its input {source!r}")
        if kinds[node.name] is ValueKind.CONSTANT:
            hoisted[node.name] = sources
        else:
            vertices[node.name] = len(names)
            names.append(node.name)
            predecessors.append(sources)
    return Dag.from_predecessors(predecessors), tuple(names)


def contract(dag: Dag, groups: Sequence[int]) -> tuple[Dag, list[int]]:
    """Make one vertex of each group; `groups[v]` is any number that v's group has in common.

    Returns the smaller graph and v -> vertex there. Raises InternalError if it has a cycle.
    """
    numbers: dict[int, int] = {}
    member = [numbers.setdefault(group, len(numbers)) for group in groups]
    sources: list[set[int]] = [set() for _ in numbers]
    for vertex, predecessors in enumerate(dag.predecessors):
        group = member[vertex]
        sources[group].update(member[source] for source in predecessors)
        sources[group].discard(group)
    order = _topological(sources)
    position = {group: index for index, group in enumerate(order)}
    ordered = [{position[source] for source in sources[group]} for group in order]
    return Dag.from_predecessors(ordered), [position[group] for group in member]


def _topological(sources: Sequence[set[int]]) -> list[int]:
    waiting = [len(predecessors) for predecessors in sources]
    consumers: list[list[int]] = [[] for _ in sources]
    for vertex, predecessors in enumerate(sources):
        for source in predecessors:
            consumers[source].append(vertex)
    order = [vertex for vertex, count in enumerate(waiting) if count == 0]
    for vertex in order:  # grows while it is walked
        for consumer in consumers[vertex]:
            waiting[consumer] -= 1
            if waiting[consumer] == 0:
                order.append(consumer)
    if len(order) != len(sources):
        raise InternalError("contracting the segments closed a cycle")
    return order


def without_idle(dag: Dag, marked: Sequence[bool]) -> tuple[Dag, list[int]]:
    """The marked vertices, and the others that lie between two of them: only these part clusters.

    Returns the smaller graph and, for each of its vertices, the one in `dag`.
    """
    after, before = [False] * len(dag), [False] * len(dag)
    for vertex in range(len(dag)):
        after[vertex] = any(marked[u] or after[u] for u in dag.predecessors[vertex])
    for vertex in reversed(range(len(dag))):
        before[vertex] = any(marked[u] or before[u] for u in dag.successors[vertex])
    kept = [v for v in range(len(dag)) if marked[v] or (after[v] and before[v])]
    position = {vertex: index for index, vertex in enumerate(kept)}
    return (
        Dag.from_predecessors(
            [[position[u] for u in dag.predecessors[v] if u in position] for v in kept]
        ),
        kept,
    )
