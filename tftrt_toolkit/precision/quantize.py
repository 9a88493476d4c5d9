"""Writes Q/DQ pairs into the FP32 graph, where the rules say so.

    before   y = MatMul(x, w)
    after    x/q = QuantizeLinear(x, x/scale, x/zero)   x/dq = DequantizeLinear(x/q, ...)
             w/dq = DequantizeLinear(w/q, w/scale, w/zero)
             y = MatMul(x/dq, w/dq)

Quantization is symmetric. Scales are FP32, so the quantized node computes in FP32 between its DQ
and the cast behind it: TensorRT makes an integer or FP8 product with an FP32 result of that. With
FP16 scales it would accumulate raw products in FP16, which overflows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from ml_dtypes import float8_e4m3fn
from onnx import NodeProto, TensorProto

from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.precision.quantize_rules import Site
from tftrt_toolkit.precision.thresholds import QMAX

_NUMPY: dict[str, np.dtype] = {"INT8": np.dtype(np.int8), "FP8": np.dtype(float8_e4m3fn)}
_ONNX: dict[str, int] = {"INT8": TensorProto.INT8, "FP8": TensorProto.FLOAT8E4M3FN}
_FLOAT = TensorProto.FLOAT
_POINTWISE = {
    "Add", "Mul", "Sub", "Relu", "Clip", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "HardSigmoid",
    "HardSwish", "PRelu", "MaxPool", "BatchNormalization",
}  # fmt: skip

Threshold = Callable[[str], float]


def insert_pairs(
    graph: Graph,
    sites: Sequence[Site],
    target: str,
    threshold: Threshold,
    weight_ranges: Mapping[str, np.ndarray],
) -> set[int]:
    """Quantize the sites' inputs to `target` ("INT8" or "FP8").

    threshold: tensor -> the greatest |x| to represent. One pair serves all takers of a tensor; a
    tensor that a DequantizeLinear makes has its pair already.
    weight_ranges: greatest |value| of weights that have a range of their own.
    Returns ids of the nodes that stay FP32 around the pairs: Q, DQ, quantized nodes, epilogues.
    """
    inserter = _Inserter(graph, target, threshold, weight_ranges)
    shared = _shared_thresholds(graph, sites, threshold)
    inserter.shared.update(shared)
    for site in sites:
        for index in site.activations:
            site.node.input[index] = inserter.activation(site.node.input[index])
        if site.weight is not None:
            site.node.input[site.weight] = inserter.weight(site.node.input[site.weight], site.axis)
    made = inserter.finish()
    fp32 = {id(node) for node in made} | {id(site.node) for site in sites}
    return fp32 | _epilogues(graph, fp32)


class _Inserter:
    def __init__(
        self,
        graph: Graph,
        target: str,
        threshold: Threshold,
        weight_ranges: Mapping[str, np.ndarray],
    ) -> None:
        self._graph = graph
        self._weight_ranges = weight_ranges
        self._target = target
        self._threshold = threshold
        self.shared: dict[str, float] = {}
        self._done: dict[str, str] = {}
        self._behind: dict[str, list[NodeProto]] = {}
        self._first: list[NodeProto] = []

    def activation(self, name: str) -> str:
        """The tensor's dequantized form."""
        if is_dequantized(self._graph, name):
            return name
        if name not in self._done:
            greatest = self.shared.get(name) or self._threshold(name)
            scale = np.array(greatest / QMAX[self._target], np.float32)
            scale = np.maximum(scale, np.finfo(np.float32).tiny)
            quantizers = [
                self._graph.add_constant(f"{name}/scale", scale),
                self._graph.add_constant(f"{name}/zero", np.zeros((), _NUMPY[self._target])),
            ]
            quantize = self._node("QuantizeLinear", [name, *quantizers], f"{name}/q")
            dequantize = self._dequantize([quantize.output[0], *quantizers], f"{name}/dq")
            self._behind[name] = [quantize, dequantize]
            self._done[name] = dequantize.output[0]
        return self._done[name]

    def weight(self, name: str, axis: int) -> str:
        """The dequantized form of a weight that is stored quantized, one scale a channel."""
        key = f"{name}/{axis}"
        if key not in self._done:
            value = self._graph.constant(name)
            assert value is not None
            own = self._weight_ranges.get(name)
            quantized, scale = quantize_weight(value, axis, self._target, own)
            zero = np.zeros(scale.shape, _NUMPY[self._target])
            inputs = [
                self._graph.add_constant(f"{name}/q", quantized),
                self._graph.add_constant(f"{name}/scale", scale),
                self._graph.add_constant(f"{name}/zero", zero),
            ]
            dequantize = self._dequantize(inputs, f"{name}/dq", axis=axis)
            self._first.append(dequantize)
            self._done[key] = dequantize.output[0]
        return self._done[key]

    def finish(self) -> list[NodeProto]:
        """Put the pairs behind what makes the tensors; returns all nodes made."""
        graph = self._graph
        nodes = list(self._first)
        for name in graph.inputs:
            nodes += self._behind.get(name, [])
        for node in graph.nodes:
            nodes.append(node)
            for name in node.output:
                nodes += self._behind.get(name, [])
        graph.nodes = nodes
        graph.refresh()
        return self._first + [node for pair in self._behind.values() for node in pair]

    def _node(self, op: str, inputs: list[str], output: str, **attributes: int) -> NodeProto:
        output = self._graph.fresh(output)
        dtype = _ONNX[self._target] if op == "QuantizeLinear" else _FLOAT
        return self._graph.make_node(op, inputs, output, dtype, **attributes)

    def _dequantize(self, inputs: list[str], output: str, **attributes: int) -> NodeProto:
        return self._node("DequantizeLinear", inputs, output, **attributes)


def is_dequantized(graph: Graph, name: str) -> bool:
    """Whether a tensor comes out of a DequantizeLinear."""
    producer = graph.producers.get(name)
    return producer is not None and producer.op_type == "DequantizeLinear"


def quantize_weight(
    value: np.ndarray, axis: int, target: str, own_range: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A weight in `target`, and its FP32 scale for each index of `axis`. Dead channels get 1.

    own_range: the greatest |value| to represent, of a shape that broadcasts to the weight.
    """
    others = tuple(index for index in range(value.ndim) if index != axis)
    if own_range is None:
        greatest = np.maximum(value.max(axis=others), -value.min(axis=others))
    else:
        greatest = np.broadcast_to(own_range, value.shape).max(axis=others)
    scale = np.where(greatest > 0, greatest / QMAX[target], 1.0).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    shape = [1] * value.ndim
    shape[axis] = -1
    scaled = value / scale.reshape(shape)
    if target == "INT8":
        np.round(scaled, out=scaled)
    limit = QMAX[target]
    return np.clip(scaled, -limit, limit, out=scaled).astype(_NUMPY[target]), scale


def _shared_thresholds(
    graph: Graph, sites: Iterable[Site], threshold: Threshold
) -> dict[str, float]:
    """One threshold for a quantized Concat and those of its inputs that are quantized too."""
    quantized = {site.node.input[index] for site in sites for index in site.activations}
    shared = {}
    for name in sorted(quantized):
        producer = graph.producers.get(name)
        if producer is not None and producer.op_type == "Concat":
            group = [name, *(one for one in producer.input if one in quantized)]
            greatest = max(threshold(one) for one in group)
            shared.update(dict.fromkeys(group, greatest))
    return shared


def _epilogues(graph: Graph, fp32: set[int]) -> set[int]:
    """Pointwise nodes between a quantized node and the next Q, and biases: no casts between."""
    within: dict[int, NodeProto] = {}
    for node in graph.nodes:
        if node.op_type not in _POINTWISE:
            continue
        moving = [name for name in node.input if name and not graph.is_constant(name)]
        makers = [graph.producers.get(name) for name in moving]
        if makers and all(one is not None and id(one) in fp32 | within.keys() for one in makers):
            within[id(node)] = node
    kept: set[int] = set()
    for node in reversed(list(within.values())):
        if _bias(graph, node, fp32) or any(
            taker.op_type == "QuantizeLinear" or id(taker) in kept
            for taker in graph.consumers(node.output[0])
        ):
            kept.add(id(node))
    return kept


def _bias(graph: Graph, node: NodeProto, fp32: set[int]) -> bool:
    if node.op_type != "Add" or not any(graph.is_constant(name) for name in node.input):
        return False
    makers = _makers(graph, node)
    return all(id(maker) in fp32 for maker in makers)


def _makers(graph: Graph, node: NodeProto) -> Iterator[NodeProto]:
    return (graph.producers[name] for name in node.input if name in graph.producers)
