"""Converted models for servers: a Triton model repository, or TensorFlow Serving's versions."""

from tftrt_toolkit.serving.tf_serving import export_tf_serving
from tftrt_toolkit.serving.triton import TritonModel, export_triton

__all__ = ["TritonModel", "export_tf_serving", "export_triton"]
