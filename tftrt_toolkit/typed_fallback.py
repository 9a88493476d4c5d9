"""Where a segment's native function must round to give its typed ONNX's numbers.

An ONNX tensor that survives the mapping bears its TensorFlow tensor's name, and a node its node's,
with suffixes. What doesn't survive (the parts of a normalization, a scale folded into weights) has
no type of its own in the engine, and isn't rounded.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from onnx import NodeProto, TensorProto

from tftrt_toolkit.artifacts import FrozenGraph, Rounding, Scaling, Segment, TypedOnnx
from tftrt_toolkit.graph import data_inputs, node_of, origin_of
from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.precision.thresholds import QMAX

_LOW: dict[int, tf.DType] = {TensorProto.FLOAT16: tf.float16, TensorProto.BFLOAT16: tf.bfloat16}
_TARGETS: dict[int, str] = {TensorProto.INT8: "INT8", TensorProto.FLOAT8E4M3FN: "FP8"}
_PRODUCTS = {"Conv", "MatMul", "Gemm", "Add"}
_FUSED = {"BiasAdd", "Add", "AddV2", "Mul"}
_TF_MOVERS = {
    "Transpose", "Reshape", "Squeeze", "ExpandDims", "Identity", "Cast", "BroadcastTo", "Slice",
    "StridedSlice", "Pack",
}  # fmt: skip
_MOVERS = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Expand", "Slice"}
# A scale that differs from one by more than the rounding of a weight was folded into it.
_FOLDED = 0.01


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """A convolution's kernel in TensorFlow: axes within a channel; ONNX's axes in its order."""

    summed: tuple[int, ...]
    order: tuple[int, ...]


_KERNELS = {
    "Conv2D": _Kernel((0, 1, 2), (2, 3, 1, 0)),
    "DepthwiseConv2dNative": _Kernel((0, 1), (2, 3, 0, 1)),  # of [C, M, H, W]
}


def rounding_of(typed: TypedOnnx, graph: FrozenGraph, segment: Segment) -> Rounding | None:
    """Where to round; None if the segment's precision is FP32."""
    if typed.precision == "FP32":
        return None
    return _Reader(typed, graph, segment).read()


class _Reader:
    def __init__(self, typed: TypedOnnx, graph: FrozenGraph, segment: Segment) -> None:
        self._onnx = Graph(typed.model)
        self._graph = graph
        wanted = set(segment.nodes)
        self._nodes = {one.name: one for one in graph.graph_def.node if one.name in wanted}
        self._low_nodes: set[str] = set()
        self._exact_nodes: set[str] = set()
        self._folded: set[str] = set()
        self._constants: dict[str, bool] = {}
        self._outputs: set[str] = set()
        self._exact = {spec.name for spec in segment.inputs}
        self._quantized: dict[tuple[str, int], Scaling] = {}
        self._low = tf.float16

    def read(self) -> Rounding:
        """Look at each ONNX node."""
        for node in self._onnx.nodes:
            if node.op_type in ("Constant", "QuantizeLinear", "DequantizeLinear"):
                continue
            origin = self._origin(node)
            if not self._is_border_cast(node):
                self._read_outputs(node, origin)
            if origin is not None:
                self._quantized |= dict(self._read_scales(node, origin))
                self._read_folded_scale(node, origin)
        inputs = {
            (name, index)
            for name in self._low_nodes - self._exact_nodes - self._folded
            for index, tensor in enumerate(data_inputs(self._nodes[name]))
            if self._is_rounded_on_the_way(tensor) and (name, index) not in self._quantized
        }
        return Rounding(self._low, frozenset(self._outputs), frozenset(inputs), self._quantized)

    def _origin(self, node: NodeProto) -> str | None:
        """The node that a product or a sum came from: its result may bear what was fused's name."""
        if node.op_type not in _PRODUCTS:
            return None
        origin = origin_of(node.name.partition(":")[0], self._nodes)
        while node.op_type != "Add" and origin and self._nodes[origin].op in _FUSED:
            moving = (node_of(one) for one in data_inputs(self._nodes[origin]))
            origin = next((one for one in moving if not self._is_constant(one)), None)
            origin = origin if origin in self._nodes else None
        return origin

    def _read_outputs(self, node: NodeProto, origin: str | None) -> None:
        for name in node.output:
            dtype, tensor = self._onnx.dtype(name), _base(name)
            # A move in front of an operator sometimes bears the name of its result.
            known = self._is_float(tensor) and (
                node.op_type not in _MOVERS or self._nodes[node_of(tensor)].op in _TF_MOVERS
            )
            if dtype in _LOW:
                self._low = _LOW[dtype]
                self._outputs |= {tensor} if known else set()
                self._low_nodes |= {node_of(tensor)} if known else set()
                self._low_nodes |= {origin} if origin else set()
            elif dtype == TensorProto.FLOAT:
                self._exact |= {tensor} if known else set()
                self._exact_nodes |= {origin} if origin and node.op_type not in _MOVERS else set()

    def _read_scales(
        self, node: NodeProto, origin: str
    ) -> Iterator[tuple[tuple[str, int], Scaling]]:
        """The quantized inputs of the TensorFlow node that an ONNX node came from."""
        for index, name in enumerate(node.input):
            dequantize = self._onnx.producers.get(name)
            if dequantize is None or dequantize.op_type != "DequantizeLinear":
                continue
            target = _TARGETS.get(self._onnx.dtype(dequantize.input[0]))
            scale = self._onnx.constant(dequantize.input[1])
            if target is None or scale is None:  # four bits: weights only, in blocks
                continue
            place: int | None = 1
            fitted: np.ndarray | None = scale
            if self._onnx.is_constant(dequantize.input[0]):
                fitted = self._weight_scale(self._nodes[origin], scale, target)
            else:
                place = self._place(node, origin, dequantize, index)
            if place is not None and fitted is not None:
                yield (origin, place), Scaling(target, fitted.astype(np.float32))

    def _read_folded_scale(self, node: NodeProto, origin: str) -> None:
        """Round a low kernel with the scale that it holds in ONNX, and not in TensorFlow."""
        operation = self._nodes[origin]
        if node.op_type != "Conv" or operation.op not in _KERNELS:
            return
        ours = self._constant(node_of(operation.input[1]))
        theirs = self._onnx.constant(node.input[1])
        if ours is None or theirs is None or theirs.dtype == np.float32:
            return
        scale = self._factor(operation, ours, theirs.astype(np.float32))
        if np.abs(scale - 1).max() > _FOLDED:
            self._quantized[origin, 1] = Scaling("LOW", scale.astype(np.float32))

    def _factor(self, node: Any, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """What to divide TensorFlow's kernel by, for each output channel, to get ONNX's."""
        layout = _KERNELS[node.op]
        shape = [1 if axis in layout.summed else size for axis, size in enumerate(ours.shape)]
        takers = [one for one in self._nodes.values() if f"{node.name}:0" in data_inputs(one)]
        if len(takers) == 1 and takers[0].op == "Mul":
            for tensor in data_inputs(takers[0]):
                value = self._constant(node_of(tensor))
                if value is not None and value.size == np.prod(shape) and (value != 0).all():
                    self._folded.add(takers[0].name)
                    return 1 / value.reshape(shape)
        if node.op == "DepthwiseConv2dNative":
            theirs = theirs.reshape(*ours.shape[2:], *theirs.shape[1:])[:, :, 0]
        theirs = theirs.transpose(layout.order)
        # Least squares over a channel: single weights tell no more than the low type's digits.
        power = np.square(theirs).sum(axis=layout.summed, keepdims=True)
        product = (ours * theirs).sum(axis=layout.summed, keepdims=True)
        return np.where(power > 0, product / np.where(power > 0, power, 1), 1)

    def _place(self, node: NodeProto, origin: str, dequantize: NodeProto, index: int) -> int | None:
        """Which input of the TensorFlow node is the one that is quantized in ONNX."""
        if node.op_type != "Add":
            return index
        inputs = list(data_inputs(self._nodes[origin]))
        maker = self._onnx.producers.get(dequantize.input[0])
        while maker is not None:
            tensor = _base(maker.input[0])
            if tensor in inputs:
                return inputs.index(tensor)
            maker = self._onnx.producers.get(maker.input[0])
            maker = maker if maker is not None and maker.op_type in _MOVERS else None
        return None

    def _weight_scale(self, node: Any, scale: np.ndarray, target: str) -> np.ndarray | None:
        """The weight's scales, of a shape that broadcasts to it in TensorFlow's layout."""
        tensor = list(data_inputs(node))[1] if len(node.input) > 1 else ""
        if node.op in _KERNELS:
            # ONNX's kernel may hold a scale that is a node of its own here: each has its channels'.
            kernel = self._constant(node_of(tensor))
            if kernel is None:
                return None
            greatest = np.abs(kernel).max(axis=_KERNELS[node.op].summed, keepdims=True)
            return np.where(greatest > 0, greatest / QMAX[target], 1.0)
        if node.op in ("MatMul", "BatchMatMulV2") and scale.ndim == 1:
            flipped = node.attr["transpose_b" if node.op == "MatMul" else "adj_y"].b
            return scale.reshape((-1, 1) if flipped else (1, -1))
        if node.op == "Einsum":
            shape = self._graph.tensors[tensor].shape
            return _einsum_scale(node.attr["equation"].s.decode(), shape, scale)
        return None

    def _is_rounded_on_the_way(self, tensor: str) -> bool:
        """Whether a low node takes the tensor in a form that isn't low yet."""
        if tensor in self._outputs or not self._is_float(tensor):
            return False
        return tensor in self._exact or self._is_constant(node_of(tensor))

    def _is_float(self, tensor: str) -> bool:
        spec = self._graph.tensors.get(tensor)
        inside = node_of(tensor) in self._nodes or tensor in self._exact
        return spec is not None and inside and spec.dtype == tf.float32

    def _is_constant(self, name: str) -> bool:
        """Whether a node is a constant or a weight, or one in another shape."""
        if name not in self._constants:
            node = self._nodes.get(name)
            if name in self._graph.weights or node is None or node.op == "Placeholder":
                self._constants[name] = name in self._graph.weights
            else:
                inputs = (node_of(one) for one in data_inputs(node))
                self._constants[name] = all(map(self._is_constant, inputs))
        return self._constants[name]

    def _constant(self, name: str) -> np.ndarray | None:
        if name in self._graph.weights:
            return self._graph.weights[name].value
        node = self._nodes.get(name)
        if node is None or node.op != "Const":
            return None
        return tf.make_ndarray(node.attr["value"].tensor)

    def _is_border_cast(self, node: NodeProto) -> bool:
        """Whether a cast stands between a tensor and its own form in another type."""
        return node.op_type == "Cast" and _base(node.input[0]) == _base(node.output[0])


def _base(name: str) -> str:
    """The TensorFlow tensor that an ONNX tensor was named after."""
    return re.sub(r"(:\d+)(__\d+|/.*)$", r"\1", name)


def _einsum_scale(equation: str, shape: tf.TensorShape, scale: np.ndarray) -> np.ndarray | None:
    """Scales of a dense layer's weight, whose output labels stand last and in order."""
    taken, _, made = equation.replace(" ", "").partition("->")
    labels = taken.partition(",")[2]
    sizes = [int(size) if label in made else 1 for label, size in zip(labels, shape, strict=True)]
    return scale.reshape(sizes) if np.prod(sizes) == scale.size else None
