"""Stage 3: convertible nodes grouped into segments, each to become one engine."""

from tftrt_toolkit.segment.rules import SegmentRules
from tftrt_toolkit.segment.stage import segment_graph
from tftrt_toolkit.segment.verify import verify_segmentation

__all__ = ["SegmentRules", "segment_graph", "verify_segmentation"]
