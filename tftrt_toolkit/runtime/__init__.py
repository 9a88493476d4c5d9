"""Run converted models: the ops, and the executors behind them."""

from tftrt_toolkit.runtime.loading import load_ops, set_strict
from tftrt_toolkit.runtime.observing import observe
from tftrt_toolkit.runtime.resources import bind, load, loaded_assets, set_builder
from tftrt_toolkit.runtime.selection import gpu_capabilities, set_executors
from tftrt_toolkit.runtime.statistics import SegmentStats, runtime_stats
from tftrt_toolkit.runtime.tuning import CANDIDATES, Effort, tune

__all__ = [
    "CANDIDATES",
    "Effort",
    "SegmentStats",
    "bind",
    "gpu_capabilities",
    "load",
    "load_ops",
    "loaded_assets",
    "observe",
    "runtime_stats",
    "set_builder",
    "set_executors",
    "set_strict",
    "tune",
]
