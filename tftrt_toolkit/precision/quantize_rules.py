"""Which tensors are quantized: one rule for each kind of node, with the reason where it says no.

weights        per output channel; activations per tensor; biases stay float
MatMul, Gemm   with a constant weight whose K and N are even and at least 16
Conv           the same of its channels; for TensorRT 10 and 11 only
residual Add   only the input that no quantized convolution makes
attention      products of two activations: none, or Q, K, V and the softmax's output together
the rest       stays float: epilogues (BatchNormalization, Relu, Clip, Sigmoid * x),
               normalizations, Softmax, GELU
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from onnx import NodeProto, TensorProto

from tftrt_toolkit.precision.graph import Graph, attribute

_LEAST = 16
_EPILOGUE = {"Mul", "Add", "BatchNormalization", "Relu", "Clip"}
_EPILOGUE_REACH = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """What may be quantized.

    convolutions: TensorRT 10 and 11 have INT8 kernels for them; TensorRT-RTX has none worth using.
    attention: quantize products of two activations too, both inputs of each.
    skip: `fnmatch` patterns of nodes that stay float.
    """

    convolutions: bool = True
    attention: bool = False
    skip: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Site:
    """A node to quantize: its activation inputs, and its weight's input and output-channel axis."""

    node: NodeProto
    activations: tuple[int, ...]
    weight: int | None = None
    axis: int = 0


@dataclasses.dataclass(frozen=True)
class Left:
    """A node that could have been quantized by its kind, and why it isn't."""

    node: NodeProto
    reason: str


Rule = Callable[[Graph, NodeProto, QuantizeOptions], Site | Left | None]


def find_sites(graph: Graph, options: QuantizeOptions) -> tuple[list[Site], list[Left]]:
    """The nodes to quantize, and those left float although their kind has a rule."""
    sites: list[Site] = []
    left: list[Left] = []
    for node in graph.nodes:
        rule = _RULES.get(node.op_type)
        verdict = rule(graph, node, options) if rule else None
        if isinstance(verdict, Site):
            pattern = _matching(node.name, options.skip)
            if pattern is not None:
                verdict = Left(node, f"asked for by {pattern!r}")
        if isinstance(verdict, Site):
            sites.append(verdict)
        elif verdict is not None:
            left.append(verdict)
    sites += list(_residual_adds(graph, sites, options))
    return sites, left


def histogram_tensors(graph: Graph) -> set[str]:
    """Tensors that any options could quantize."""
    tensors: set[str] = set()
    for node in graph.nodes:
        if node.op_type in (*_RULES, "Add"):
            floats = [name for name in node.input if graph.dtype(name) == TensorProto.FLOAT]
            moving = [name for name in floats if not graph.is_constant(name)]
            if node.op_type != "Add" or len(moving) == 2:
                tensors.update(name for name in moving if graph.shape(name) is not None)
    return tensors


def _matching(name: str, patterns: Sequence[str]) -> str | None:
    return next((one for one in patterns if fnmatch.fnmatchcase(name, one)), None)


def _weight(graph: Graph, name: str) -> np.ndarray | None:
    value = graph.constant(name) if graph.is_constant(name) else None
    return value if value is not None and value.dtype == np.float32 else None


def _conv(graph: Graph, node: NodeProto, options: QuantizeOptions) -> Site | Left | None:
    weight = _weight(graph, node.input[1])
    if weight is None or weight.ndim != 4:
        return None
    if not options.convolutions:
        return Left(
            node, "TensorRT-RTX has no INT8 or FP8 convolution worth using: it runs in FP16"
        )
    group = attribute(node, "group", 1)
    outputs, inputs = weight.shape[0], weight.shape[1] * group
    if group > 1 and group != inputs:
        return Left(node, f"a grouped convolution ({group} groups)")
    if outputs % 2 or inputs % 2 or outputs < _LEAST or inputs < _LEAST:
        return Left(node, f"{inputs} input and {outputs} output channels: even, 16 or more are due")
    return Site(node, (0,), weight=1, axis=0)


def _matmul(graph: Graph, node: NodeProto, options: QuantizeOptions) -> Site | Left | None:
    if graph.dtype(node.output[0]) != TensorProto.FLOAT:
        return None
    weight = _weight(graph, node.input[1])
    if weight is None:
        moving = not any(graph.is_constant(name) for name in node.input)
        if moving and options.attention:
            return Site(node, (0, 1))
        return Left(node, "a product of two activations") if moving else None
    if weight.ndim != 2:
        return Left(node, f"a weight of {weight.ndim} dimensions")
    reason = _too_small(graph, node, *weight.shape)
    return Left(node, reason) if reason else Site(node, (0,), weight=1, axis=1)


def _gemm(graph: Graph, node: NodeProto, options: QuantizeOptions) -> Site | Left | None:
    weight = _weight(graph, node.input[1])
    if weight is None or attribute(node, "transA", 0):
        return None
    transposed = bool(attribute(node, "transB", 0))
    depth, width = weight.shape[::-1] if transposed else weight.shape
    reason = _too_small(graph, node, depth, width)
    return Left(node, reason) if reason else Site(node, (0,), weight=1, axis=0 if transposed else 1)


def _too_small(graph: Graph, node: NodeProto, depth: int, width: int) -> str | None:
    if depth % 2 or width % 2 or depth < _LEAST or width < _LEAST:
        return f"a {depth} x {width} weight: even sizes of 16 or more are due"
    shape = graph.shape(node.input[0])
    if shape is not None and all(dim == 1 for dim in shape[:-1]):
        return "a product with one row"
    return None


_RULES: dict[str, Rule] = {"Conv": _conv, "MatMul": _matmul, "Gemm": _gemm}


def _residual_adds(graph: Graph, sites: Sequence[Site], options: QuantizeOptions) -> Iterator[Site]:
    """Adds of a quantized convolution's branch and another: the other is quantized."""
    convolutions = {id(site.node) for site in sites if site.node.op_type == "Conv"}
    for node in graph.nodes:
        moving = [name for name in node.input if not graph.is_constant(name)]
        if node.op_type != "Add" or len(set(moving)) != 2:
            continue
        if _matching(node.name, options.skip) is not None:
            continue
        fused = [_ends_convolution(graph, name, convolutions) for name in node.input]
        if any(fused) and graph.dtype(node.output[0]) == TensorProto.FLOAT:
            yield Site(node, (1,) if fused[0] else (0,))


def _ends_convolution(graph: Graph, name: str, convolutions: set[int]) -> bool:
    """Whether a tensor is what a quantized convolution's epilogue makes, for this one taker."""
    for _ in range(_EPILOGUE_REACH):
        producer = graph.producers.get(name)
        if producer is None or graph.only_consumer(name) is None:
            return False
        if id(producer) in convolutions:
            return True
        moving = [one for one in producer.input if not graph.is_constant(one)]
        if producer.op_type not in _EPILOGUE or len(moving) != 1:
            return False
        name = moving[0]
    return False
