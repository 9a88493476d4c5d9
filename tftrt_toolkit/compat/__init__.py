"""What the stock converter left behind: its models, its API, and the converter itself."""

from tftrt_toolkit.compat.migrate import migrate
from tftrt_toolkit.compat.restore import Restored, restore_native
from tftrt_toolkit.compat.tensorflow_api import enable_tensorflow_api

__all__ = ["Restored", "enable_tensorflow_api", "migrate", "restore_native"]
