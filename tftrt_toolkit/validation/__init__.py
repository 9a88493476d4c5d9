"""Is the converted model still the model? Comparison, tolerances, blame and reports."""

from tftrt_toolkit.validation.gate import Gate
from tftrt_toolkit.validation.options import ValidationOptions
from tftrt_toolkit.validation.page import to_html
from tftrt_toolkit.validation.result import ValidationReport
from tftrt_toolkit.validation.text import to_text, verdict_line
from tftrt_toolkit.validation.tolerances import DEFAULT_TOLERANCES, Tolerance
from tftrt_toolkit.validation.validate import validate

__all__ = [
    "DEFAULT_TOLERANCES",
    "Gate",
    "Tolerance",
    "ValidationOptions",
    "ValidationReport",
    "to_html",
    "to_text",
    "validate",
    "verdict_line",
]
