"""Rule: which nodes stay FP32 in an FP16 or BF16 graph, and why.

Each finder looks at the FP32 graph and yields the nodes that its reason holds for; the first reason
counts. What a finder needs to know of activations comes from calibrated ranges; without them
constants and the form of the graph alone decide.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from onnx import NodeProto, TensorProto

from tftrt_toolkit.artifacts import Island
from tftrt_toolkit.precision.graph import Graph, has_body, is_square

FP16_MAX = 65504.0
FP16_TINY = 2.0**-14  # the least normal number
# A quarter of FP16's range: what calibration saw may be passed by a factor of four in production.
FP16_LIMIT = 16376.0

_FLOAT = TensorProto.FLOAT
_INTEGERS = {
    TensorProto.INT8,
    TensorProto.INT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.UINT16,
    TensorProto.UINT32,
    TensorProto.UINT64,
}
_REDUCTIONS = {"ReduceMean", "ReduceSum"}
_OWN_SQUARES = {"ReduceSumSquare", "ReduceL2", "ReduceLogSumExp", "ReduceProd", "CumSum"}
# Ops that bring a large or tiny value back to a usual size, and ops that a value passes on the way.
_CLOSERS = {"Sqrt", "Reciprocal", "Div", "Log", "Pow", "ReduceLogSum"}
_PASSING = {
    "Add", "Sub", "Mul", "Max", "Min", "Clip", "ReduceSum", "ReduceMean", "Squeeze", "Unsqueeze",
    "Reshape", "Expand", "Identity",
}  # fmt: skip
_REACH = 6

_Finding = tuple[NodeProto, str]


def find_islands(
    graph: Graph, low: int, ranges: Mapping[str, float], keep: Sequence[str] = ()
) -> dict[int, Island]:
    """NodeProto's id -> why it stays FP32.

    low: FLOAT16 or BFLOAT16. ranges: tensor -> the greatest |value| that calibration saw.
    keep: `fnmatch` patterns of nodes that the user wants in FP32.
    """
    found: dict[int, Island] = {}
    half = low == TensorProto.FLOAT16
    findings: list[Iterator[_Finding]] = [_asked_for(graph, keep), _bodies(graph)]
    if half:
        findings += [_large_constants(graph), _ranges(graph, ranges), _tiny_constants(graph)]
        findings += [_exponentials(graph)]
    findings += [_squares(graph), _from_integers(graph)]
    for finding in findings:
        for node, reason in finding:
            name = node.name or node.output[0]
            found.setdefault(id(node), Island(name, node.op_type, "FP32", reason))
    return {id(node): found[id(node)] for node in graph.nodes if id(node) in found}


def _asked_for(graph: Graph, keep: Sequence[str]) -> Iterator[_Finding]:
    for node in graph.nodes:
        for pattern in keep:
            if fnmatch.fnmatchcase(node.name, pattern):
                yield node, f"asked for by {pattern!r}"


def _bodies(graph: Graph) -> Iterator[_Finding]:
    for node in graph.nodes:
        if has_body(node):
            yield node, "control flow keeps its types"


def _large_constants(graph: Graph) -> Iterator[_Finding]:
    for node, name, value in _float_constants(graph):
        size = greatest(value)
        if size > FP16_MAX:
            yield node, f"constant {name!r} reaches {size:.3g}, beyond FP16's 65504"


def _tiny_constants(graph: Graph) -> Iterator[_Finding]:
    """An epsilon that FP16 rounds to zero, and the root, log or quotient that it protects."""
    for node, name, value in _float_constants(graph):
        if value.size != 1 or node.op_type not in ("Add", "Sub", "Max", "Clip", "Div", "Mul"):
            continue
        one = float(value.reshape(-1)[0])
        if one != 0 and abs(one) < FP16_TINY and np.isfinite(one):
            reason = f"constant {name!r} ({one:.3g}) is below FP16's normal numbers"
            yield node, reason
            yield from ((other, reason) for other in _closed_chain(graph, node))


def _ranges(graph: Graph, ranges: Mapping[str, float]) -> Iterator[_Finding]:
    for node in graph.nodes:
        for name in dict.fromkeys([*node.output, *node.input]):
            size = ranges.get(name, 0.0)
            if graph.dtype(name) != _FLOAT or graph.is_constant(name):
                continue
            if size > FP16_LIMIT:
                yield node, f"{name!r} reaches {size:.3g} in calibration (limit {FP16_LIMIT:.0f})"
            elif 0.0 < size < FP16_TINY:
                yield node, f"{name!r} stays below {size:.3g}, FP16's normal numbers"


def _exponentials(graph: Graph) -> Iterator[_Finding]:
    """Exp passes 65504 from 11.1 on; so do sums and logs spelled out around it."""
    for node in graph.nodes:
        if node.op_type == "Exp" and graph.dtype(node.output[0]) == _FLOAT:
            reason = "an exponential leaves FP16's range from 11.1 on"
            yield node, reason
            yield from ((other, reason) for other in _closed_chain(graph, node))


def _squares(graph: Graph) -> Iterator[_Finding]:
    """Means of squares, as in a normalization, up to the root that ends them."""
    reason = "a sum of squares or products needs FP32: it leaves FP16 beyond |255.9|"
    for node in graph.nodes:
        if not node.input or graph.dtype(node.input[0]) != _FLOAT:
            continue
        if node.op_type in _OWN_SQUARES:
            yield node, reason
        elif node.op_type in _REDUCTIONS:
            square = graph.producers.get(node.input[0])
            if square is None or not is_square(graph, square):
                continue
            for other in (square, node, *_closed_chain(graph, node)):
                yield other, reason


def _from_integers(graph: Graph) -> Iterator[_Finding]:
    """Positions, sizes and indices counted in float: FP16 is exact only up to 2048."""
    exact: set[str] = set()
    for node in graph.nodes:
        floats = [name for name in node.input if graph.dtype(name) == _FLOAT]
        makes_float = any(graph.dtype(name) == _FLOAT for name in node.output)
        if node.op_type == "Cast" and graph.dtype(node.input[0]) in _INTEGERS and makes_float:
            exact.update(node.output)
        elif not floats or node.op_type in ("MatMul", "Gemm", "Conv", "Einsum", "Where", "Gather"):
            continue
        elif any(name in exact for name in floats) and all(
            name in exact or graph.is_constant(name) for name in floats
        ):
            exact.update(node.output)
        else:
            continue
        yield node, "made from integers, which FP16 holds exactly only up to 2048"


def _closed_chain(graph: Graph, start: NodeProto) -> list[NodeProto]:
    """Nodes from behind `start` to the roots, logs or quotients that its value runs into."""
    chain: dict[int, NodeProto] = {}

    def walk(node: NodeProto, reach: int) -> bool:
        closed = False
        for output in node.output:
            for taker in graph.consumers(output) if reach else ():
                ends = taker.op_type in _CLOSERS
                onward = ends or taker.op_type in _PASSING
                if onward and (walk(taker, reach - 1) or ends):
                    chain[id(taker)] = taker
                    closed = True
        return closed

    walk(start, _REACH)
    return list(chain.values())


def _float_constants(graph: Graph) -> Iterator[tuple[NodeProto, str, np.ndarray]]:
    """Each node with each of its float constants."""
    for node in graph.nodes:
        for name in node.input:
            if name and graph.dtype(name) == _FLOAT and graph.is_constant(name):
                value = graph.constant(name)
                if value is not None and value.size:
                    yield node, name, value


def greatest(value: np.ndarray) -> float:
    """The greatest finite |value|, without a copy where all are finite."""
    top = max(float(value.max()), -float(value.min()))
    if np.isfinite(top):
        return top
    finite = value[np.isfinite(value)]
    return max(float(finite.max()), -float(finite.min())) if finite.size else 0.0
