"""What the stock converter left behind: its models, its API, and the converter itself."""

from tftrt_toolkit.compat.restore import Restored, restore_native

__all__ = ["Restored", "restore_native"]
