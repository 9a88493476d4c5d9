"""The rules, one module a family of ops; importing this package registers them all.

They say what tf2onnx 1.17 with our own handlers maps, what the result was found to be right in
ONNX Runtime, and what TensorRT-RTX 1.7 then built on a machine without a GPU.
"""

from tftrt_toolkit.support.ops import (
    arrays,
    casts,
    convolution,
    elementwise,
    gather_scatter,
    image,
    logic,
    matmul,
    normalization,
    pooling,
    quantization,
    reductions,
    shapes,
)

FAMILIES = (
    arrays,
    casts,
    convolution,
    elementwise,
    gather_scatter,
    image,
    logic,
    matmul,
    normalization,
    pooling,
    quantization,
    reductions,
    shapes,
)
