"""Why two clusters stay two: the native node through which joining them would close a cycle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tftrt_toolkit.artifacts import Drop
from tftrt_toolkit.segment.dag import contract
from tftrt_toolkit.segment.plan import Clustering

# Each explanation walks the graph once, so only so many are given of each sort.
MOST_EXPLAINED = 10


class CycleFinder:
    """Pairs of neighbouring clusters, and a path beside each pair's edge."""

    def __init__(self, plan: Clustering) -> None:
        self._plan = plan
        self._neighbours: dict[int, set[int]] = defaultdict(set)
        labels = plan.labels
        for vertex, predecessors in enumerate(plan.dag.predecessors):
            for source in predecessors:
                low, high = labels[source], labels[vertex]
                if low >= 0 and high >= 0 and low != high:
                    self._neighbours[low].add(high)
                    self._neighbours[high].add(low)
        groups = [label if label >= 0 else -2 - v for v, label in enumerate(labels)]
        self._small, member = contract(plan.dag, groups)
        self._group: dict[int, int] = {}
        self._names: dict[int, str] = {}
        for vertex, group in enumerate(member):
            if labels[vertex] >= 0:
                self._group[labels[vertex]] = group
            else:
                self._names[group] = plan.names[vertex]

    def beside(self, cluster: int) -> str | None:
        """Why `cluster` can't join its first neighbour, or None: it has no neighbour."""
        if not self._neighbours[cluster]:
            return None
        return self.why(cluster, min(self._neighbours[cluster]))

    def pairs(self, clusters: Sequence[int]) -> list[tuple[int, int]]:
        """Neighbours among `clusters`, each pair once."""
        among = set(clusters)
        return [
            (low, high)
            for low in sorted(among)
            for high in sorted(self._neighbours[low] & among)
            if low < high
        ]

    def why(self, first: int, second: int) -> str | None:
        """What forbids joining two neighbours, named by a native node; None if it wasn't tried."""
        low, high = sorted((self._group[first], self._group[second]))
        native = self._native_between(low, high)
        if native is None:
            return None
        op = self._plan.nodes[native].op
        return f"would close a cycle through native node {native!r} ({op})"

    def _native_between(self, low: int, high: int) -> str | None:
        came_from = {vertex: low for vertex in self._small.successors[low] if vertex != high}
        waiting = list(came_from)
        for vertex in waiting:  # grows while it is walked
            if high in self._small.successors[vertex]:
                while vertex != low:
                    if vertex in self._names:
                        return self._names[vertex]
                    vertex = came_from[vertex]
                return None
            for successor in self._small.successors[vertex]:
                if successor < high and successor not in came_from:
                    came_from[successor] = vertex
                    waiting.append(successor)
        return None


def split_notes(finder: CycleFinder, graph: str, names: Mapping[int, str]) -> list[Drop]:
    """Notes, without nodes, on neighbouring engines that a cycle keeps apart.

    names: cluster -> the engine's name.
    """
    notes = []
    for first, second in finder.pairs(list(names))[:MOST_EXPLAINED]:
        why = finder.why(first, second)
        if why is not None:
            reason = f"{names[first]} and {names[second]} stay two engines: joining them {why}"
            notes.append(Drop(graph, (), "cycle", reason))
    return notes
