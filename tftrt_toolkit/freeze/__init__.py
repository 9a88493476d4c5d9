"""SavedModel -> frozen graph without its large weights, and the weights beside it as arrays."""

from tftrt_toolkit.artifacts import FrozenFunction, LoadedModel
from tftrt_toolkit.freeze.function import freeze_function
from tftrt_toolkit.freeze.model import load_model, signature

__all__ = ["FrozenFunction", "LoadedModel", "freeze_function", "load_model", "signature"]
