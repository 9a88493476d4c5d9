"""Disjoint sets over 0 .. n - 1."""

from __future__ import annotations


class UnionFind:
    """Union by size, paths halved."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._size = [1] * count

    def find(self, item: int) -> int:
        """The set's representative."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def union(self, first: int, second: int) -> int:
        """Join two sets; the representative of the joined one."""
        first, second = self.find(first), self.find(second)
        if first == second:
            return first
        if self._size[first] < self._size[second]:
            first, second = second, first
        self._parent[second] = first
        self._size[first] += self._size[second]
        return first
