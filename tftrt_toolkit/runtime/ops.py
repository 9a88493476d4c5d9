"""The ops as Python functions, the wrappers that TensorFlow generates for them.

`trt_engine_op`, `create_trt_resource_handle`, `initialize_trt_resource`, `serialize_trt_resource`,
`get_calibration_data_op`, and, not of stock TF-TRT, `hold_trt_engine_variables` and
`keep_trt_engine_variable`: arguments are the op's inputs, then its attributes by name.
"""

from __future__ import annotations

from typing import Any

from tftrt_toolkit.runtime.loading import op_library
from tftrt_toolkit.tensorflow_version import has_stock_converter

_NAMES = frozenset(
    {
        "trt_engine_op",
        "create_trt_resource_handle",
        "initialize_trt_resource",
        "hold_trt_engine_variables",
        "keep_trt_engine_variable",
        "serialize_trt_resource",
        "get_calibration_data_op",
    }
)


def __getattr__(name: str) -> Any:  # loads the library on first use, not on import
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if has_stock_converter():
        from tensorflow.compiler.tf2tensorrt.ops import gen_trt_ops

        return getattr(gen_trt_ops, name)
    return getattr(op_library().wrappers, name)
