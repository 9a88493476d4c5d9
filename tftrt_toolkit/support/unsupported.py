"""Ops that never run in an engine, with the reason in the user's words."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.view import op_def

_REASONS: dict[str, tuple[str, str]] = {
    "If While StatelessIf StatelessWhile Case StatelessCase For": (
        "control flow",
        "control flow stays in TensorFlow; its bodies are graphs that convert by themselves",
    ),
    "PartitionedCall StatefulPartitionedCall": (
        "function",
        "a call that wasn't inlined; its body is a graph that converts by itself",
    ),
    "NoOp": ("no output", "it yields nothing, it only orders other nodes"),
    "Where Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 DynamicPartition NonMaxSuppression "
    "NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 "
    "CombinedNonMaxSuppression ListDiff DenseToDenseSetOperation SparseFillEmptyRows "
    "SparseReshape RaggedRange RaggedGather RaggedTensorToTensor RaggedTensorToSparse": (
        "data-dependent shape",
        "output shape depends on data",
    ),
    "SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum UnsortedSegmentMax "
    "UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum SparseSegmentMean "
    "SparseSegmentSum SparseSegmentSqrtN SparseSegmentMeanWithNumSegments "
    "SparseSegmentSumWithNumSegments SparseSegmentSqrtNWithNumSegments TensorScatterAdd "
    "TensorScatterMax TensorScatterMin TensorScatterSub Bincount DenseBincount": (
        "builder",
        "TensorRT's ScatterND overwrites, it doesn't add or compare",
    ),
    "BitwiseAnd BitwiseOr BitwiseXor Invert LeftShift RightShift PopulationCount": (
        "builder",
        "TensorRT has no bitwise operations",
    ),
    "Cumprod": ("builder", "TensorRT's builder fails on this scan"),
    "MaxPoolWithArgmax": ("builder", "TensorRT's max pooling yields no positions"),
    "CropAndResize": ("builder", "TensorRT-RTX's builder crashes on its ONNX form"),
    "MatrixDiag MatrixDiagV2 MatrixDiagV3": ("builder", "TensorRT's parser refuses its padding"),
    "ResizeArea ResizeBicubic AdjustSaturation": ("mapping", "its ONNX form gives another result"),
    "CheckNumerics Assert": ("assertion", "it checks values and raises, an engine can't"),
}
_REFUSALS = {
    op: Refusal(rule, reason) for ops, (rule, reason) in _REASONS.items() for op in ops.split()
}


def known_refusals() -> dict[str, Refusal]:
    """Every op whose reason is written down -> the reason."""
    return dict(sorted(_REFUSALS.items()))


def refuse_unregistered(op: str) -> Refusal:
    """Why an op without a rule stays native."""
    known = _REFUSALS.get(op)
    if known is not None:
        return known
    definition = op_def(op)
    if definition is not None and definition.is_stateful:
        return Refusal("stateful", "it has state or side effects, and an engine is a pure function")
    return Refusal("no mapping", f"{op} has no mapping to ONNX that was found right")
