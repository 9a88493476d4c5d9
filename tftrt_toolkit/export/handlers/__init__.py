"""Our own mappings, over tf2onnx's, for ops that it gets wrong or doesn't know.

One family a file; importing a family registers its mappings.
"""

from tftrt_toolkit.export.handlers import integer_division, special_math
from tftrt_toolkit.export.handlers.registry import HANDLERS, find_handler

FAMILIES = (integer_division, special_math)
HANDLED_OPS = frozenset(HANDLERS)

__all__ = ["FAMILIES", "HANDLED_OPS", "find_handler"]
