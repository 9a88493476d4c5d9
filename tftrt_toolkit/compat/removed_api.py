"""What of TF-TRT's TensorFlow 1 API has no counterpart: each name says what to use instead."""

from __future__ import annotations

from typing import Any, NoReturn

from tftrt_toolkit.errors import ConversionError

_INSTEAD = (
    "save the model as a TensorFlow 2 SavedModel and use TrtGraphConverterV2 (max_batch_size and "
    "is_dynamic_op are gone: engines take the shapes that build() or input_shapes name)"
)


class TrtGraphConverter:
    """TensorFlow 1's converter of GraphDefs; raises ConversionError."""

    def __init__(self, *_args: Any, **_keywords: Any) -> None:
        _refuse("TrtGraphConverter")


def create_inference_graph(*_args: Any, **_keywords: Any) -> NoReturn:
    """TensorFlow 1's function; raises ConversionError."""
    _refuse("create_inference_graph")


def get_tensorrt_rewriter_config(*_args: Any, **_keywords: Any) -> NoReturn:
    """The options of a Grappler pass that is no more; raises ConversionError."""
    _refuse("get_tensorrt_rewriter_config")


def _refuse(name: str) -> NoReturn:
    raise ConversionError(f"{name} converted TensorFlow 1 graphs and is no more: {_INSTEAD}")
