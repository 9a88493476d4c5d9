"""TF-TRT for today's TensorFlow and TensorRT.

Importing the package registers the engine ops: `tf.saved_model.load` then takes converted models.
"""

from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.converter import TrtGraphConverterV2
from tftrt_toolkit.params import (
    DEFAULT_TRT_CONVERSION_PARAMS,
    ToolkitOptions,
    TrtConversionParams,
    TrtPrecisionMode,
)
from tftrt_toolkit.runtime import load_ops
from tftrt_toolkit.version import __version__

load_ops()

__all__ = [
    "DEFAULT_TRT_CONVERSION_PARAMS",
    "ShapeRange",
    "ToolkitOptions",
    "TrtConversionParams",
    "TrtGraphConverterV2",
    "TrtPrecisionMode",
    "__version__",
]
