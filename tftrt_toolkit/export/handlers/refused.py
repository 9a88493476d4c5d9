"""Ops that tf2onnx maps to something else, and that have no short right mapping: kept native."""

from __future__ import annotations

from tftrt_toolkit.export.handlers.registry import Rewrite, Unmappable, maps

REASONS = {
    "AdjustSaturation": "tf2onnx's form saturates colours otherwise",
    "ResizeArea": "ONNX has no resizing by area",
    "SegmentMax": "segments without a row come out as -Inf",
    "SegmentMin": "segments without a row come out as Inf",
    "SegmentMean": "segments without a row come out as NaN",
    "SegmentProd": "segments without a row come out otherwise",
    "SparseSegmentMean": "segments without a row come out as NaN",
    "SparseSegmentMeanWithNumSegments": "segments without a row come out as NaN",
    "SparseSegmentSqrtN": "segments without a row come out as NaN",
    "SparseSegmentSqrtNWithNumSegments": "segments without a row come out as NaN",
    "UnsortedSegmentMax": "segments without a row come out as -Inf",
    "UnsortedSegmentMin": "segments without a row come out as Inf",
}


@maps(*REASONS)
def refuse(r: Rewrite) -> None:
    """Say why."""
    raise Unmappable(REASONS[r.node.type])
