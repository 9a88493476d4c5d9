"""Clusters of convertible vertices whose contraction leaves the graph without a cycle.

Two steps, near-linear together:

1. Levels. A vertex' level is the largest number of times that a path to it leaves convertible
   vertices for native ones. Neighbours of one level join: a path that leaves a cluster through a
   native vertex only meets higher levels again, so it can't come back.

       a -> b -> N -> c -> d        levels 0 0 1 1 1, clusters {a b} {c d}

2. Contraction. Levels part some clusters needlessly, where a native side branch joins the trunk:

       x -> t -> u                  t has level 0 and u has level 1 because of the branch m -> N,
       m -> N -> u                  yet joining t and u closes no cycle

   The clusters are now few; edges between them are contracted one by one wherever no other path
   runs beside the edge.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from tftrt_toolkit.segment.dag import Dag, contract, without_idle
from tftrt_toolkit.segment.ordered import OrderedGraph
from tftrt_toolkit.segment.union_find import UnionFind

# Edges that the second step may look at for each edge of the graph. Graphs of models need a few;
# the bound keeps a tangled one from taking quadratic time. Clusters are valid at any point.
EFFORT = 100


def cluster(dag: Dag, convertible: Sequence[bool], effort: int = EFFORT) -> list[int]:
    """Cluster of each vertex, numbered from 0 in topological order of first members; -1: native."""
    sets = _join_levels(dag, convertible)
    _contract_rest(dag, convertible, sets, effort)
    numbers: dict[int, int] = {}
    return [
        numbers.setdefault(sets.find(vertex), len(numbers)) if convertible[vertex] else -1
        for vertex in range(len(dag))
    ]


def _join_levels(dag: Dag, convertible: Sequence[bool]) -> UnionFind:
    sets = UnionFind(len(dag))
    levels = [0] * len(dag)
    for vertex, predecessors in enumerate(dag.predecessors):
        native = not convertible[vertex]
        levels[vertex] = max(
            (levels[source] + (native and convertible[source]) for source in predecessors),
            default=0,
        )
        if native:
            continue
        for source in predecessors:
            if convertible[source] and levels[source] == levels[vertex]:
                sets.union(source, vertex)
    return sets


def _contract_rest(dag: Dag, convertible: Sequence[bool], sets: UnionFind, effort: int) -> None:
    """Join sets of `sets` as far as no cycle forbids it."""
    small, member = contract(dag, [sets.find(vertex) for vertex in range(len(dag))])
    is_cluster, original = [False] * len(small), [0] * len(small)
    for vertex, group in enumerate(member):
        is_cluster[group] = convertible[vertex]
        original[group] = vertex
    reduced, kept = without_idle(small, is_cluster)
    edges = sum(map(len, reduced.successors))
    joined = _contract_greedily(
        OrderedGraph(reduced),
        [is_cluster[vertex] for vertex in kept],
        effort * (len(reduced) + edges),
    )
    for first, second in joined:
        sets.union(original[kept[first]], original[kept[second]])


def _contract_greedily(
    graph: OrderedGraph, is_cluster: Sequence[bool], limit: int
) -> Iterator[tuple[int, int]]:
    """Pairs that were joined.

    Each cluster tries its successors from the nearest on. A refused one is refused for good: the
    path beside the edge starts at a native vertex, or at a nearer cluster that was refused too.
    """
    finished: set[int] = set()
    for start in range(len(is_cluster)):
        if not is_cluster[start] or start in finished:
            continue
        current, nearest = start, _Nearest(graph, is_cluster, start)
        while graph.work < limit and (vertex := nearest.pop()) is not None:
            kept = graph.contract(current, vertex)
            if kept is not None:
                yield current, vertex
                finished |= {current, vertex}
                current = kept
                nearest.push(graph.successors[current])
        finished.add(current)


class _Nearest:
    """Successors of a growing cluster that it hasn't tried, in the order of the graph."""

    def __init__(self, graph: OrderedGraph, is_cluster: Sequence[bool], start: int) -> None:
        self._order = graph.order
        self._renumbered = self._order.renumbered
        self._is_cluster = is_cluster
        self._seen = {start}
        self._heap: list[tuple[int, int]] = []
        self.push(graph.successors[start])

    def push(self, vertices: set[int]) -> None:
        for vertex in vertices - self._seen:
            self._seen.add(vertex)
            if self._is_cluster[vertex]:
                heapq.heappush(self._heap, (self._order.position[vertex], vertex))

    def pop(self) -> int | None:
        position = self._order.position
        if self._renumbered != self._order.renumbered:
            self._renumbered = self._order.renumbered
            self._heap = [(position[vertex], vertex) for _, vertex in self._heap]
            heapq.heapify(self._heap)
        while self._heap:
            known, vertex = heapq.heappop(self._heap)
            if known == position[vertex]:
                return vertex
            heapq.heappush(self._heap, (position[vertex], vertex))  # it moved back meanwhile
        return None
