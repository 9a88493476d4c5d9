"""Typed ONNX and shape profiles in, TensorRT plans out, cached by what they were built from."""

from tftrt_toolkit.engine.build import Builder, available_builder, build_plans
from tftrt_toolkit.engine.config import BuildConfig
from tftrt_toolkit.engine.kernels import KernelReport, report_kernels

__all__ = [
    "BuildConfig",
    "Builder",
    "KernelReport",
    "available_builder",
    "build_plans",
    "report_kernels",
]
