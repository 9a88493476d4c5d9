"""What a precision costs at single nodes: the emulated graph with some of them unrounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import ml_dtypes
import numpy as np
import onnx

from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.onnx_model import external_tensor
from tftrt_toolkit.protos import copied
from tftrt_toolkit.validation.deviation import is_float
from tftrt_toolkit.validation.onnx_tensors import fetch

# How far quantizing may move a weight, as a share of the largest of its tensor, with some slack.
_STEPS = {"INT8": 2**-6, "FP8": 2**-3, "INT4": 0.25}
_ROUNDED = {"FP16": np.float16, "BF16": ml_dtypes.bfloat16}
_SAME = 1e-6


def wrong_weights(
    engine: OnnxModel, reference: OnnxModel, node: str, precision: str, inputs: Sequence[np.ndarray]
) -> list[str]:
    """Weights of a node that rounding to the precision doesn't explain, by the reference's name."""
    exact = _Exact(reference)
    engine_node = next((one for one in engine.proto.graph.node if one.name == node), None)
    if engine_node is None or node not in exact.inputs:
        return []
    found = []
    constants = _Exact(engine)
    for name, wanted in zip(engine_node.input, exact.inputs[node], strict=False):
        value = exact.weight(wanted)
        if value is None or not is_float(value) or not value.size:
            continue
        used = constants.weight(name)
        if used is None:
            (used,) = fetch(engine, inputs, [name])
        if used.shape != value.shape:
            found.append(wanted)
            continue
        error = np.abs(used.astype(np.float64) - value.astype(np.float64))
        if not (error <= _allowed(value, precision)).all():
            found.append(wanted)
    return found


def _allowed(value: np.ndarray, precision: str) -> np.ndarray:
    """How far rounding to a precision may move each of these weights."""
    largest = float(np.abs(value).max())
    allowed = np.full(value.shape, _SAME * largest + _STEPS.get(precision, 0.0) * largest)
    if precision in _ROUNDED:
        dtype = _ROUNDED[precision]
        limit = float(ml_dtypes.finfo(dtype).max)  # masks are clamped to it
        rounded = np.clip(value, -limit, limit).astype(dtype).astype(np.float64)
        allowed += np.abs(rounded - value)
    return allowed


def unrounded(
    engine: OnnxModel, reference: OnnxModel, nodes: Iterable[str], *, results: bool
) -> OnnxModel:
    """The emulated graph with the named ONNX nodes fed by exact weights and unquantized inputs.

    results: their results aren't rounded either, as FP32 nodes' are not.

        before   y/raw = Conv(DQ(Q(x)), w/fp16);  y = Cast<fp32>(Cast<fp16>(y/raw))
        after    y = Conv(x, w)

    Rounding of what comes in from other low-precision nodes stays. Nodes that `reference`, the
    graph in FP32, doesn't have are left alone.
    """
    proto = copied(engine.proto)
    exact = _Exact(reference)
    producers = {name: node for node in proto.graph.node for name in node.output}
    weights = dict(engine.weights)
    bypassed: dict[str, str] = {}
    for name in nodes:
        for node in proto.graph.node:
            if node.name == name and name in exact.inputs:
                _feed(node, exact, producers, proto.graph, weights)
                if results:
                    bypassed |= _bypass(node, proto.graph)
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = bypassed.get(name, name)
    return OnnxModel(proto, weights)


class _Exact:
    """Inputs and weights of the FP32 graph."""

    def __init__(self, model: OnnxModel) -> None:
        graph = model.proto.graph
        self.inputs = {node.name: list(node.input) for node in graph.node}
        self._small = {t.name: t for t in graph.initializer if t.name not in model.weights}
        self._large = model.weights

    def weight(self, name: str) -> np.ndarray | None:
        if name in self._large:
            return self._large[name]
        return onnx.numpy_helper.to_array(self._small[name]) if name in self._small else None


def _feed(
    node: onnx.NodeProto,
    exact: _Exact,
    producers: Mapping[str, onnx.NodeProto],
    graph: onnx.GraphProto,
    weights: dict[str, np.ndarray],
) -> None:
    for index, wanted in enumerate(exact.inputs[node.name][: len(node.input)]):
        value = exact.weight(wanted)
        if value is None:
            node.input[index] = _unquantized(node.input[index], producers)
        elif value.dtype == np.float32:
            fresh = f"{wanted}/exact"
            if fresh not in weights:
                weights[fresh] = np.ascontiguousarray(value)
                graph.initializer.append(external_tensor(fresh, weights[fresh]))
            node.input[index] = fresh


def _unquantized(name: str, producers: Mapping[str, onnx.NodeProto]) -> str:
    """What went into a Q/DQ pair; the tensor itself where there is none."""
    node = producers.get(name)
    if node is None or node.op_type != "DequantizeLinear":
        return name
    quantize = producers.get(node.input[0])
    return quantize.input[0] if quantize is not None else name


def _bypass(node: onnx.NodeProto, graph: onnx.GraphProto) -> dict[str, str]:
    """Tensor behind the two casts that round a result -> the result before them."""
    casts = [cast for cast in graph.node if cast.op_type == "Cast"]
    lows = {cast.output[0]: name for name in node.output for cast in casts if cast.input[0] == name}
    return {cast.output[0]: lows[cast.input[0]] for cast in casts if cast.input[0] in lows}
