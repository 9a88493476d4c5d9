"""A list whose items know their positions, and may move next to one another."""

from __future__ import annotations

from collections.abc import Sequence

# Room between neighbours: so many halvings until positions are dealt anew.
_GAP = 1 << 256


class Order:
    """The items 0 .. count - 1, at first in this order.

    position[i]: grows along the list; not consecutive.
    renumbered: how many times all positions were dealt anew.
    """

    def __init__(self, count: int) -> None:
        self.position = [index * _GAP for index in range(1, count + 1)]
        self.renumbered = 0
        # The list is a ring, closed by an item of its own.
        self._end = count
        self._next = [*range(1, count + 1), 0]
        self._previous = [count, *range(count)]

    def merge(self, gone: int, place: int, name: int) -> None:
        """Take `gone` and `place` out, and put `name`, one of them, where `place` was."""
        self._unlink(gone)
        if name == gone:
            self._link(gone, place)
            self._unlink(place)
            self.position[gone] = self.position[place]

    def move_behind(self, items: Sequence[int], anchor: int) -> None:
        """Put `items`, in this order, right behind `anchor`."""
        for item in items:
            self._unlink(item)
        start = anchor
        for item in items:
            self._link(item, start)
            start = item
        self._deal(anchor, items)

    def move_ahead(self, items: Sequence[int], anchor: int) -> None:
        """Put `items`, in this order, right ahead of `anchor`."""
        for item in items:
            self._unlink(item)
        start = self._previous[anchor]
        before = start
        for item in items:
            self._link(item, before)
            before = item
        self._deal(start, items)

    def _deal(self, before: int, items: Sequence[int]) -> None:
        """Give `items`, which stand behind `before`, positions of their own."""
        if not items:
            return
        low = 0 if before == self._end else self.position[before]
        after = self._next[items[-1]]
        high = low + 2 * _GAP if after == self._end else self.position[after]
        step = (high - low) // (len(items) + 1)
        if step == 0:
            self._renumber()
            return
        for index, item in enumerate(items, 1):
            self.position[item] = low + index * step

    def _renumber(self) -> None:
        self.renumbered += 1
        item, position = self._next[self._end], _GAP
        while item != self._end:
            self.position[item] = position
            item, position = self._next[item], position + _GAP

    def _unlink(self, item: int) -> None:
        before, after = self._previous[item], self._next[item]
        self._next[before], self._previous[after] = after, before

    def _link(self, item: int, before: int) -> None:
        after = self._next[before]
        self._next[before], self._previous[item] = item, before
        self._next[item], self._previous[after] = after, item
