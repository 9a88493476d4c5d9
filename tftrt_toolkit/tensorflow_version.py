"""What the installed TensorFlow brings along. Imports next to nothing, so that all may ask."""

from __future__ import annotations

import tensorflow as tf

# The last release with TF-TRT's converter and ops in it.
_LAST_STOCK = (2, 17)


def has_stock_converter() -> bool:
    """Whether this TensorFlow has TF-TRT's converter and ops itself (up to 2.17)."""
    major, minor = (int(part) for part in tf.__version__.split(".")[:2])
    return (major, minor) <= _LAST_STOCK
