"""Rule: batch normalization behind a convolution goes into its weights.

    Conv(x, w) -> Mul(., scale) -> Add(., shift)    becomes    Conv(x, w * scale, shift)
    Conv(x, w, b) -> BatchNormalization(.)          becomes    Conv(x, w', b')

Engines fuse these too, but only after the types are fixed: in FP16 a scale of its own may overflow
where the product would not, and Q/DQ must not land between the two.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from tftrt_toolkit.precision.graph import Graph, attribute


def fold_scales(graph: Graph) -> None:
    """Fold per-channel constants behind convolutions, as long as there are any."""
    for conv in [node for node in graph.nodes if node.op_type == "Conv"]:
        while _fold_next(graph, conv):
            pass  # who takes the result of a convolution stays true without a refresh
    graph.refresh()


def _fold_next(graph: Graph, conv: NodeProto) -> bool:
    output = conv.output[0]
    follower = graph.only_consumer(output)
    weight = graph.constant(conv.input[1])
    bias = _bias(graph, conv)
    if follower is None or weight is None or bias is None or weight.dtype != np.float32:
        return False
    found = _scale_and_shift(graph, follower, output, len(bias), weight.ndim)
    if found is None:
        return False
    scale, shift = found
    name = follower.name or output
    if not np.all(scale == 1):
        shape = (-1,) + (1,) * (weight.ndim - 1)
        product = np.multiply(weight, scale.reshape(shape), dtype=np.float32)
        conv.input[1] = graph.add_constant(f"{name}/folded_weight", product)
    folded_bias = (bias * scale + shift).astype(np.float32)
    del conv.input[2:]
    conv.input.append(graph.add_constant(f"{name}/folded_bias", folded_bias))
    conv.output[0] = follower.output[0]
    graph.remove([follower])
    return True


def _bias(graph: Graph, conv: NodeProto) -> np.ndarray | None:
    """The bias in float64; zeros if there is none; None if it isn't constant."""
    if len(conv.input) > 2 and conv.input[2]:
        bias = graph.constant(conv.input[2])
        return None if bias is None else bias.astype(np.float64)
    weight = graph.constant(conv.input[1])
    return None if weight is None else np.zeros(weight.shape[0])


def _scale_and_shift(
    graph: Graph, node: NodeProto, tensor: str, channels: int, rank: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """What a node does to each channel, if it is no more than scale and shift."""
    if node.op_type == "BatchNormalization" and node.input[0] == tensor:
        values = [graph.constant(name) for name in node.input[1:5]]
        if any(value is None for value in values) or attribute(node, "training_mode", 0):
            return None
        gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
        scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        return scale, beta - mean * scale
    if node.op_type not in ("Mul", "Add", "Sub") or node.input[0] == node.input[1]:
        return None
    if node.op_type == "Sub" and node.input[0] != tensor:
        return None
    other = next(name for name in node.input if name != tensor)
    value = _per_channel(graph.constant(other), channels, rank)
    if value is None:
        return None
    if node.op_type == "Mul":
        return value, np.zeros(channels)
    return np.ones(channels), -value if node.op_type == "Sub" else value


def _per_channel(value: np.ndarray | None, channels: int, rank: int) -> np.ndarray | None:
    """One value a channel of a tensor [batch, channels, ...], if a constant is that."""
    if value is None or value.ndim > rank:
        return None
    shape = (1,) * (rank - value.ndim) + value.shape
    if shape[1] not in (1, channels) or any(dim != 1 for dim in (shape[0], *shape[2:])):
        return None
    return np.broadcast_to(value.reshape(shape[1]).astype(np.float64), (channels,))
