"""Models beside each other: latency, memory, size and accuracy."""

from tftrt_toolkit.benchmark.report import BenchmarkReport, ModelFigures, to_text
from tftrt_toolkit.benchmark.run import BenchmarkOptions, benchmark

__all__ = ["BenchmarkOptions", "BenchmarkReport", "ModelFigures", "benchmark", "to_text"]
