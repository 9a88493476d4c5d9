"""A SavedModel's whole default signature as one ONNX model, for benchmarks of later stages."""

from __future__ import annotations

from pathlib import Path

from tests.segments import whole_segment
from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.export import export_segment
from tftrt_toolkit.freeze import freeze_function, load_model


def whole_model(directory: Path) -> OnnxModel:
    """Freeze and export, as if all nodes were one segment."""
    function = load_model(directory).signatures["serving_default"]
    graph = freeze_function(function, "main").graph
    return export_segment(graph, whole_segment(graph))
