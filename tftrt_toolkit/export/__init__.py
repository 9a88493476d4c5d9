"""One segment in, one ONNX model out: tf2onnx maps the ops, its faults are mended here."""

from tftrt_toolkit.errors import ExportError
from tftrt_toolkit.export.handlers import HANDLED_OPS, REFUSED_OPS
from tftrt_toolkit.export.segment_export import export_segment

__all__ = ["HANDLED_OPS", "REFUSED_OPS", "ExportError", "export_segment"]
