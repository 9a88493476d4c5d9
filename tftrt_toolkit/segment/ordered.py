"""A graph that shrinks by contracting edges, kept in topological order as it does.

The order bounds every search: a path from u to v only passes vertices that stand between them
(Pearce and Kelly, "A dynamic topological sort algorithm for directed acyclic graphs", 2006).
"""

from __future__ import annotations

from tftrt_toolkit.segment.dag import Dag


class OrderedGraph:
    """Vertices of `dag`; `contract` joins two of them under one's number.

    order[v]: positions; u before v for every edge u -> v.
    work: edges looked at so far, the measure of what was spent.
    """

    def __init__(self, dag: Dag) -> None:
        self.successors = [set(vertices) for vertices in dag.successors]
        self.predecessors = [set(vertices) for vertices in dag.predecessors]
        self.order = list(range(len(dag)))
        self.work = 0

    def contract(self, first: int, second: int) -> int | None:
        """Contract the edge first -> second; None if another path between the two forbids it.

        Returns the number that the joined vertex goes by, one of the two.
        """
        behind = self._descendants(first, second)
        if behind is None:
            return None
        ahead = self._ancestors(second, first)
        order = self.order
        slots = sorted(order[v] for v in (first, second, *behind, *ahead))
        kept = self._join(first, second)
        sequence = [*sorted(ahead, key=order.__getitem__), kept]
        for vertex, slot in zip(sequence, slots, strict=False):
            order[vertex] = slot
        tail = sorted(behind, key=order.__getitem__)
        for vertex, slot in zip(tail, slots[len(slots) - len(tail) :], strict=True):
            order[vertex] = slot
        return kept

    def _descendants(self, first: int, second: int) -> set[int] | None:
        """Vertices behind `first` and before `second`; None if one leads to `second`."""
        limit = self.order[second]
        found: set[int] = set()
        waiting = [first]
        while waiting:
            vertex = waiting.pop()
            successors = self.successors[vertex]
            self.work += len(successors)
            if vertex != first and second in successors:
                return None
            for successor in successors:
                if self.order[successor] < limit and successor not in found:
                    found.add(successor)
                    waiting.append(successor)
        return found

    def _ancestors(self, second: int, first: int) -> set[int]:
        """Vertices ahead of `second` that stand behind `first`."""
        limit = self.order[first]
        found: set[int] = set()
        waiting = [second]
        while waiting:
            predecessors = self.predecessors[waiting.pop()]
            self.work += len(predecessors)
            for predecessor in predecessors:
                if self.order[predecessor] > limit and predecessor not in found:
                    found.add(predecessor)
                    waiting.append(predecessor)
        return found

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
