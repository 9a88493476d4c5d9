"""Run converted models: the ops, and the executors behind them."""

from tftrt_toolkit.runtime.loading import load_ops
from tftrt_toolkit.runtime.observing import observe
from tftrt_toolkit.runtime.resources import bind

__all__ = ["bind", "load_ops", "observe"]
