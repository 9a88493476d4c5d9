"""Keras models, of Keras 3 and tf_keras 2, exported with engines; a callback that does it in `fit`.

Importing this touches neither Keras: the callback's class is made when it is first named.
"""

from typing import TYPE_CHECKING, Any

from tftrt_toolkit.keras.export import Exported, export
from tftrt_toolkit.keras.options import ExportOptions

if TYPE_CHECKING:
    from tftrt_toolkit.keras.callback import TensorRTExport

__all__ = ["ExportOptions", "Exported", "TensorRTExport", "export"]


def __getattr__(name: str) -> Any:
    """Import the callback, whose base class is Keras's."""
    if name == "TensorRTExport":
        from tftrt_toolkit.keras.callback import TensorRTExport

        return TensorRTExport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
