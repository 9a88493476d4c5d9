"""Typed ONNX and shape profiles in, TensorRT plans out, cached by what they were built from."""

from tftrt_toolkit.engine.build import Builder, available_builder, build_plans
from tftrt_toolkit.engine.config import BuildConfig

__all__ = ["BuildConfig", "Builder", "available_builder", "build_plans"]
