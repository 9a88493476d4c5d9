"""No segment is trusted unchecked: its ONNX against TensorFlow, on the CPU."""

from tftrt_toolkit.check.compare import ACCUMULATED_BOUND, BOUND, Difference
from tftrt_toolkit.check.segment_check import CheckResult, check_segment, verify_segment

__all__ = [
    "ACCUMULATED_BOUND",
    "BOUND",
    "CheckResult",
    "Difference",
    "check_segment",
    "verify_segment",
]
