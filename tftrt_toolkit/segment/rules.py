"""What the caller asks of segments."""

from __future__ import annotations

import dataclasses

# Stock TF-TRT's list: nodes that hand their input on don't count towards a segment's size.
PASS_THROUGH = frozenset({"Identity", "Snapshot", "StopGradient"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentRules:
    """Limits on segments.

    minimum_segment_size: fewer nodes stay native. Identity, Snapshot and StopGradient don't count,
      nor do shape computations, which are copied to where they are used. Constants do, as in stock
      TF-TRT, yet with 2 or more one node alone makes no engine, however many constants it takes.
      -1: only functions marked `_tftrt_convert_function` convert, whatever their size.
    max_engines: at most so many segments, the largest survive; 0 or less: no limit.
    """

    minimum_segment_size: int = 3
    max_engines: int = 20

    def fits(self, computing: int, constants: int) -> bool:
        """Whether a segment of so many nodes is large enough."""
        least = max(self.minimum_segment_size, 1)
        return computing >= min(least, 2) and computing + constants >= least
