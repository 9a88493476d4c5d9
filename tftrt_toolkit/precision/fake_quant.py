"""Rule: fake quantization becomes a symmetric Q/DQ pair with its own range.

    before   y = Floor((Min(Max(x, low), high) - low) * (1 / step) + 0.5) * step + low
    after    y/q = QuantizeLinear(x, y/scale, y/zero)   y = DequantizeLinear(y/q, y/scale, y/zero)

with scale = max(|low|, |high|) / 127. So a quantization-aware model needs no calibration. Around a
constant weight the arithmetic is carried out, and its range kept for the weight's own pair.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from onnx import NodeProto, TensorProto

from tftrt_toolkit.precision.graph import Graph, attribute
from tftrt_toolkit.precision.thresholds import QMAX

_MOVERS = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "MaxPool"}


@dataclasses.dataclass(frozen=True)
class _Chain:
    """A chain that ends in `last`: low and high are scalars or one value a channel."""

    x: str
    last: NodeProto
    low: np.ndarray
    high: np.ndarray
    step: np.ndarray


def absorb_fake_quant(graph: Graph) -> dict[str, np.ndarray]:
    """Replace each chain.

    Returns constant weight -> its greatest |value|, of a shape that broadcasts to it. A chain on an
    activation with one range a channel stays as it is.
    """
    ranges: dict[str, np.ndarray] = {}
    for node in list(graph.nodes):
        chain = _match(graph, node) if node.op_type == "Add" else None
        if chain is None:
            continue
        if graph.is_constant(chain.x):
            _fold(graph, chain, ranges)
        elif chain.low.size == 1:
            _make_pair(graph, chain)
        graph.refresh()
    return ranges


def existing_pairs(graph: Graph) -> set[int]:
    """Q and DQ nodes that the model came with, and the nodes that compute with nothing else."""
    pairs = {
        id(node) for node in graph.nodes if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    }
    for node in graph.nodes:
        makers = [graph.producers.get(name) for name in node.input[:2]]
        if node.op_type in ("Conv", "MatMul", "Gemm") and all(
            maker is not None and maker.op_type == "DequantizeLinear" for maker in makers
        ):
            pairs.add(id(node))
    return pairs


def own_range(graph: Graph, tensor: str) -> float | None:
    """The greatest |value| of a tensor that a pair of the model's own made, perhaps moved since."""
    producer = graph.producers.get(tensor)
    while producer is not None and producer.op_type in _MOVERS:
        producer = graph.producers.get(producer.input[0])
    if producer is None or producer.op_type != "DequantizeLinear":
        return None
    scale = graph.constant(producer.input[1])
    return float(scale) * QMAX["INT8"] if scale is not None and scale.size == 1 else None


def _match(graph: Graph, last: NodeProto) -> _Chain | None:
    """The chain, from its end: each op takes the one before and a constant."""
    constants: list[np.ndarray] = []
    tensor = last.output[0]
    for op in ("Add", "Mul", "Floor", "Add", "Mul", "Sub", "Min", "Max"):
        node = graph.producers.get(tensor)
        if node is None or node.op_type != op:
            return None
        if op != "Floor":
            value = graph.constant(node.input[1]) if graph.is_constant(node.input[1]) else None
            if value is None:
                return None
            constants.append(value)
        tensor = node.input[0]
    low, step, half, inverse, low_again, high, floor = constants
    same = np.array_equal(low, low_again) and np.array_equal(low, floor) and half == 0.5
    if not same or not np.allclose(step * inverse, 1, rtol=1e-5):
        return None
    return _Chain(tensor, last, low, high, step)


def _make_pair(graph: Graph, chain: _Chain) -> None:
    name = chain.last.output[0]
    greatest = max(abs(float(chain.low)), abs(float(chain.high)))
    constants = [
        graph.add_constant(f"{name}/scale", np.array(greatest / QMAX["INT8"], np.float32)),
        graph.add_constant(f"{name}/zero", np.zeros((), np.int8)),
    ]
    quantized = graph.fresh(f"{name}/q")
    quantize = graph.make_node("QuantizeLinear", [chain.x, *constants], quantized, TensorProto.INT8)
    dequantize = graph.make_node(
        "DequantizeLinear", [quantized, *constants], name, TensorProto.FLOAT
    )
    graph.insert_after(chain.last, quantize, dequantize)
    graph.remove([chain.last])


def _fold(graph: Graph, chain: _Chain, ranges: dict[str, np.ndarray]) -> None:
    """Carry a weight's chain out, and the Transpose behind it that makes it a kernel."""
    value = graph.constant(chain.x)
    assert value is not None
    inside = np.clip(value, chain.low, chain.high) - chain.low
    whole = np.floor(inside / chain.step + np.float32(0.5))
    folded = (whole * chain.step + chain.low).astype(np.float32)
    shape = (1,) * (value.ndim - chain.low.ndim) + chain.low.shape
    greatest = np.maximum(np.abs(chain.low), np.abs(chain.high)).reshape(shape)
    tensor, dead = chain.last.output[0], [chain.last]
    follower = graph.only_consumer(tensor)
    if follower is not None and follower.op_type == "Transpose":
        order = attribute(follower, "perm")
        folded, greatest = folded.transpose(order), greatest.transpose(order)
        tensor, dead = follower.output[0], [chain.last, follower]
    graph.remove(dead)
    name = graph.add_constant(f"{tensor}/folded", np.ascontiguousarray(folded))
    for taker in graph.consumers(tensor):
        for index, one in enumerate(taker.input):
            if one == tensor:
                taker.input[index] = name
    ranges[name] = greatest
