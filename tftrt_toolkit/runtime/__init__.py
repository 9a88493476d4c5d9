"""Run converted models: the ops, and the executors behind them."""

from tftrt_toolkit.runtime.loading import load_ops
from tftrt_toolkit.runtime.observing import observe
from tftrt_toolkit.runtime.resources import bind, load
from tftrt_toolkit.runtime.selection import set_executors
from tftrt_toolkit.runtime.statistics import SegmentStats, runtime_stats

__all__ = [
    "SegmentStats",
    "bind",
    "load",
    "load_ops",
    "observe",
    "runtime_stats",
    "set_executors",
]
