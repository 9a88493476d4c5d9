"""Our own mappings, over tf2onnx's, for ops that it gets wrong or doesn't know.

One family a file; importing a family registers its mappings.
"""

from tftrt_toolkit.export.handlers import (
    fake_quant,
    images,
    indexing,
    integer_division,
    ordering,
    reductions,
    refused,
    shapes,
    special_math,
)
from tftrt_toolkit.export.handlers.registry import HANDLERS, find_handler

FAMILIES = (
    fake_quant,
    images,
    indexing,
    integer_division,
    ordering,
    reductions,
    refused,
    shapes,
    special_math,
)
REFUSED_OPS = frozenset(refused.REASONS)
HANDLED_OPS = frozenset(HANDLERS) - REFUSED_OPS

__all__ = ["FAMILIES", "HANDLED_OPS", "REFUSED_OPS", "find_handler"]
