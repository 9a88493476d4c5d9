"""FP32 ONNX in, strongly typed ONNX out: the precision is written into the graph."""

from tftrt_toolkit.precision.apply import PrecisionOptions, apply_precision, prepare

__all__ = ["PrecisionOptions", "apply_precision", "prepare"]
