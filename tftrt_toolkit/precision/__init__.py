"""FP32 ONNX in, strongly typed ONNX out: the precision is written into the graph."""

from tftrt_toolkit.precision.apply import PrecisionOptions, apply_precision
from tftrt_toolkit.precision.calibration import (
    Calibration,
    load_calibrations,
    save_calibrations,
)
from tftrt_toolkit.precision.calibrator import Calibrator
from tftrt_toolkit.precision.emulate import emulate
from tftrt_toolkit.precision.precision_file import (
    Override,
    load_overrides,
    save_overrides,
    with_overrides,
)
from tftrt_toolkit.precision.prepare import prepare
from tftrt_toolkit.precision.search import SearchResult, meet_budget, resolve_calibrator
from tftrt_toolkit.precision.sparsity import WeightSparsity, check_sparsity

__all__ = [
    "Calibration",
    "Calibrator",
    "Override",
    "PrecisionOptions",
    "SearchResult",
    "WeightSparsity",
    "apply_precision",
    "check_sparsity",
    "emulate",
    "load_calibrations",
    "load_overrides",
    "meet_budget",
    "prepare",
    "resolve_calibrator",
    "save_calibrations",
    "save_overrides",
    "with_overrides",
]
