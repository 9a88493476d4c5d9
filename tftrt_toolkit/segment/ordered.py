"""A graph that shrinks by contracting edges, kept in topological order as it does.

Whether another path runs beside an edge is asked from both of its ends at once, and what lies
between them in the order bounds both searches; the one that ends first tells, and what it found
moves past the other end (after Bender, Fineman, Gilbert and Tarjan, "A new approach to incremental
cycle detection and related problems", 2015).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from tftrt_toolkit.segment.dag import Dag
from tftrt_toolkit.segment.order import Order


class OrderedGraph:
    """Vertices of `dag`; `contract` joins two of them under one's number.

    order: topological; u stands before v for every edge u -> v.
    work: edges looked at so far, the measure of what was spent.
    """

    def __init__(self, dag: Dag) -> None:
        self.successors = [set(vertices) for vertices in dag.successors]
        self.predecessors = [set(vertices) for vertices in dag.predecessors]
        self.order = Order(len(dag))
        self.work = 0

    def contract(self, first: int, second: int) -> int | None:
        """Contract the edge first -> second; None if another path between the two forbids it.

        Returns the number that the joined vertex goes by, one of the two.
        """
        behind: set[int] = set()
        ahead: set[int] = set()
        searches = (
            self._search(first, second, self.successors, behind, ahead),
            self._search(second, first, self.predecessors, ahead, behind),
        )
        for search in itertools.cycle(searches):
            met = next(search, None)
            self.work += 1
            if met is None:
                break
            if met:
                return None
        kept = self._join(first, second)
        # The joined vertex takes the place of one end; what depends on the other one moves past it.
        if search is searches[0]:
            self.order.merge(first, second, kept)
            self.order.move_behind(self._sorted(behind), kept)
        else:
            self.order.merge(second, first, kept)
            self.order.move_ahead(self._sorted(ahead), kept)
        return kept

    def _search(
        self,
        start: int,
        goal: int,
        edges: Sequence[set[int]],
        found: set[int],
        others: set[int],
    ) -> Iterator[bool]:
        """Add to `found` what `edges` lead to from `start` and what stands on the way to `goal`.

        Yields for each edge whether it closes a path to `goal` that isn't the edge start -> goal;
        `others` is what the search from there found.
        """
        position = self.order.position
        low, high = sorted((position[start], position[goal]))
        waiting = [start]
        while waiting:
            vertex = waiting.pop()
            for neighbour in edges[vertex]:
                if neighbour == goal:
                    yield vertex != start
                    continue
                if neighbour not in found and low < position[neighbour] < high:
                    found.add(neighbour)
                    waiting.append(neighbour)
                    yield neighbour in others
                    continue
                yield False

    def _sorted(self, vertices: set[int]) -> list[int]:
        return sorted(vertices, key=self.order.position.__getitem__)

    def _join(self, first: int, second: int) -> int:
        """Give the edges of the vertex with fewer of them to the other one."""
        kept, gone = first, second
        if self._degree(first) < self._degree(second):
            kept, gone = second, first
        for forward, backward in (
            (self.successors, self.predecessors),
            (self.predecessors, self.successors),
        ):
            for neighbour in forward[gone]:
                backward[neighbour].discard(gone)
                if neighbour != kept:
                    backward[neighbour].add(kept)
                    forward[kept].add(neighbour)
            self.work += len(forward[gone])
            forward[gone] = set()
        return kept

    def _degree(self, vertex: int) -> int:
        return len(self.successors[vertex]) + len(self.predecessors[vertex])
