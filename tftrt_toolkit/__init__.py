"""TF-TRT for today's TensorFlow and TensorRT.

Importing the package registers the engine ops: `tf.saved_model.load` then takes converted models.
"""

from tftrt_toolkit import tensorflow_import  # noqa: F401  first: the others import TensorFlow
from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.compat import Restored, enable_tensorflow_api, migrate, restore_native
from tftrt_toolkit.inputs import InputDirectory
from tftrt_toolkit.params import (
    DEFAULT_TRT_CONVERSION_PARAMS,
    LabelledMetric,
    ToolkitOptions,
    TrtConversionParams,
    TrtPrecisionMode,
)
from tftrt_toolkit.tensorflow_version import has_stock_converter
from tftrt_toolkit.validation import Gate, ValidationOptions, validate
from tftrt_toolkit.version import __version__

__all__ = [
    "DEFAULT_TRT_CONVERSION_PARAMS",
    "Gate",
    "InputDirectory",
    "LabelledMetric",
    "Restored",
    "ShapeRange",
    "ToolkitOptions",
    "TrtConversionParams",
    "TrtGraphConverterV2",
    "TrtPrecisionMode",
    "ValidationOptions",
    "__version__",
    "enable_tensorflow_api",
    "migrate",
    "restore_native",
    "validate",
]

if has_stock_converter():
    # The ops are TensorFlow's too, and its environment needn't have what conversion needs.
    from tftrt_toolkit.compat.stock import StockConverter as TrtGraphConverterV2
else:
    from tftrt_toolkit import keras
    from tftrt_toolkit.converter import TrtGraphConverterV2  # type: ignore[assignment]
    from tftrt_toolkit.function_converter import FunctionConversion, convert_function
    from tftrt_toolkit.onnx_engines import OnnxEngines, build_onnx
    from tftrt_toolkit.runtime import (
        load,
        load_ops,
        runtime_stats,
        set_builder,
        set_executors,
        set_strict,
    )
    from tftrt_toolkit.serving import TritonModel, export_tf_serving, export_triton
    from tftrt_toolkit.targets import build_for_shapes, can_build_here
    from tftrt_toolkit.tuning import tune_model

    __all__ += [
        "FunctionConversion",
        "OnnxEngines",
        "TritonModel",
        "build_onnx",
        "convert_function",
        "export_tf_serving",
        "export_triton",
        "keras",
        "load",
        "runtime_stats",
        "set_executors",
        "set_strict",
        "tune_model",
    ]
    load_ops()
    set_builder(build_for_shapes, can_build_here)
