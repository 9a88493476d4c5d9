"""The errors a user meets. Each message is one line: what is wrong, why, and how to mend it.

Where the stock converter raises a builtin (`ValueError`, `RuntimeError`, ...), ours raises a class
that is also that builtin, so that old `except` clauses still catch it.
"""

import re
from typing import Any


class ToolkitError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidArgumentError(ToolkitError, ValueError):
    """An argument, flag or option has a value that can't be used."""


class ModelError(ToolkitError, ValueError):
    """The SavedModel is missing, damaged, or not of the form that was asked for."""


class InputError(ToolkitError, ValueError):
    """An input function yields what the model can't take."""


class CalibrationError(InputError):
    """Calibration data, or a calibration file, can't be used for the model."""


class ConversionError(ToolkitError, RuntimeError):
    """The model can't be converted as asked."""


class EngineBuildError(ToolkitError, RuntimeError):
    """TensorRT refused a segment; the message carries the builder's own words.

    `nodes` are the names of the ONNX nodes that it blamed, as far as it named any.
    """

    def __init__(self, message: str, nodes: tuple[str, ...] = ()) -> None:
        """Both as they are kept."""
        super().__init__(message)
        self.nodes = nodes


class MissingDependencyError(ToolkitError, ImportError):
    """A module, library or compiler that the task needs isn't there; the message names it."""


class OutputExistsError(ToolkitError, FileExistsError):
    """The output directory exists and isn't empty."""


class AssetError(ToolkitError, ValueError):
    """A segment's asset file is damaged or not one of ours."""


class RuntimeLoadError(ToolkitError, RuntimeError):
    """The op library can't be compiled or loaded."""


class ValidationError(ToolkitError, RuntimeError):
    """A model failed on an input while it was validated, or misses its tolerance.

    `report` is the validation's (a ValidationReport), where it came to one.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        """Both as they are kept."""
        super().__init__(message)
        self.report = report


class InternalError(ToolkitError, AssertionError):
    """A stage broke the artifacts' rules: a fault of ours, please report it."""


class ExportError(ConversionError):
    """A segment has no ONNX form.

    nodes: the TensorFlow nodes to keep native, empty where none could be singled out.
    reason: a sentence for the user, without the segment's name.
    """

    def __init__(self, segment: str, nodes: tuple[str, ...], reason: str) -> None:
        """Put the segment's name and the way out around `reason`."""
        super().__init__(f"{segment} can't become ONNX: {reason}; keep the node native")
        self.nodes = nodes
        self.reason = reason


class SessionError(ToolkitError, RuntimeError):
    """ONNX Runtime refused an ONNX model or failed to run it; the message carries its words."""


def error_line(error: BaseException) -> str:
    """What an error of TensorFlow's says in one line, without its places in the graph."""
    words = str(error).partition("\n\t [[")[0]
    lines = re.sub(r"\{\{function_node [^}]*\}\} ", "", words).strip().splitlines()
    if not lines:
        return type(error).__name__
    return lines[-1] if lines[0].startswith("Graph execution error") else lines[0]
