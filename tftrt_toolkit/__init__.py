"""TF-TRT for today's TensorFlow and TensorRT."""

from tftrt_toolkit.version import __version__

__all__ = ["__version__"]
