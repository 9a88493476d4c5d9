"""Frozen graph and segments -> live function with engine nodes -> SavedModel."""

from tftrt_toolkit.artifacts import ConvertedFunction, EngineAttributes
from tftrt_toolkit.assemble.function import assemble_function
from tftrt_toolkit.assemble.native import segment_function

__all__ = ["ConvertedFunction", "EngineAttributes", "assemble_function", "segment_function"]
