"""What the caller asks of segments."""

from __future__ import annotations

import dataclasses

# Stock TF-TRT's list: nodes that hand their input on don't count towards a segment's size.
PASS_THROUGH = frozenset({"Identity", "Snapshot", "StopGradient"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentRules:
    """Limits on segments.

    minimum_segment_size: fewer nodes stay native. Identity, Snapshot and StopGradient don't count,
      nor does what only depends on shapes, which is copied to where it is used. Constants do, as in
      stock TF-TRT, yet with 2 or more one node alone makes no engine, whatever constants it takes,
      nor do nodes that only compute integers and booleans, such as a loop's condition.
      -1: only functions marked `_tftrt_convert_function` convert, whatever their size.
    max_engines: at most so many segments, the largest survive; 0 or less: no limit.
    """

    minimum_segment_size: int = 3
    max_engines: int = 20

    @property
    def takes_all(self) -> bool:
        """Whether a segment may be as small and as plain as it likes."""
        return self.minimum_segment_size <= 1

    def fits(self, computing: int, constants: int) -> bool:
        """Whether a segment of so many nodes is large enough."""
        least = max(self.minimum_segment_size, 1)
        return computing >= min(least, 2) and computing + constants >= least
