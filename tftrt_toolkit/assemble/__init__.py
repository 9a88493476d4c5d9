"""Frozen graph and segments -> live function with engine nodes -> SavedModel."""

from tftrt_toolkit.artifacts import ConvertedFunction, EngineAttributes
from tftrt_toolkit.assemble.function import assemble_function
from tftrt_toolkit.assemble.native import segment_function
from tftrt_toolkit.assemble.output import check_output
from tftrt_toolkit.assemble.saving import save_model

__all__ = [
    "ConvertedFunction",
    "EngineAttributes",
    "assemble_function",
    "check_output",
    "save_model",
    "segment_function",
]
