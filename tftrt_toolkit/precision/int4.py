"""Rule: INT4 weights, the activations stay FP16.

    before   y = MatMul(x, w)                         w float [K, N]
    after    w/dq = DequantizeLinear<axis = 0, block_size = 64>(w/int4, w/scale)
             y = MatMul(x, w/dq)                      w/int4 four-bit [K, N], w/scale [K / 64, N]

Needs no calibration. One scale for 32, 64 or 128 values along K: the most that K divides by. Scales
have the type of the product: of FP32 scales, TensorRT-RTX always made a kernel of its own that
unpacks the weights into memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ml_dtypes import finfo
from onnx import TensorProto

from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.precision.quantize_rules import Left, Site

_BLOCKS = (128, 64, 32)
_LIMIT = 7


def quantize_weights(graph: Graph, sites: Sequence[Site], scales: np.dtype) -> list[Left]:
    """Store the weights of MatMul sites in four bits; returns the nodes left as they are.

    scales: the type that the scales will be cast to; integers are chosen for scales rounded to it.
    """
    made = []
    left = []
    for site in sites:
        if site.node.op_type != "MatMul" or site.weight is None:
            left.append(Left(site.node, "only the weights of a MatMul become INT4"))
            continue
        name = site.node.input[site.weight]
        value = graph.constant(name)
        assert value is not None
        block = next((size for size in _BLOCKS if value.shape[0] % size == 0), None)
        if block is None:
            left.append(Left(site.node, f"K = {value.shape[0]} is no multiple of 32"))
            continue
        values, scale = quantize_blocks(value, block, scales)
        inputs = [
            graph.add_packed(f"{name}/int4", pack(values), TensorProto.INT4, value.shape),
            graph.add_constant(f"{name}/scale", scale),
        ]
        output = graph.fresh(f"{name}/dq")
        node = graph.make_node(
            "DequantizeLinear", inputs, output, TensorProto.FLOAT, axis=0, block_size=block
        )
        site.node.input[site.weight] = output
        made.append(node)
    graph.nodes[:0] = made
    graph.refresh()
    return left


def quantize_blocks(
    value: np.ndarray, block: int, scales: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Integers from -7 to 7 [K, N], and a scale [K / block, N], FP32 but exact in `scales`."""
    blocks = value.reshape(-1, block, value.shape[1])
    greatest = np.maximum(blocks.max(axis=1), -blocks.min(axis=1))
    scale = np.where(greatest > 0, greatest / _LIMIT, 1.0)
    scale = np.maximum(scale, float(finfo(scales).smallest_normal)).astype(scales)
    scale = scale.astype(np.float32)
    integers = np.round(blocks / scale[:, np.newaxis]).clip(-_LIMIT, _LIMIT).astype(np.int8)
    return integers.reshape(value.shape), scale


def pack(integers: np.ndarray) -> np.ndarray:
    """Two values a byte, the first in the lower half, as ONNX stores them."""
    flat = integers.reshape(-1).astype(np.uint8) & 0x0F
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    return flat[0::2] | (flat[1::2] << 4)
