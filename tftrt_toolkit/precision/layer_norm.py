"""Rule: layer normalization spelled out in single ops becomes one LayerNormalization.

    mean = ReduceMean(x)   square = (x - mean)²   inv = 1 / Sqrt(ReduceMean(square) + epsilon)
    y = x * (inv * gamma) + (beta - mean * (inv * gamma))      as TensorFlow and Keras write it
    y = (x - mean) * inv * gamma + beta                        as others do

Spelled out, the squares overflow FP16 where |x - mean| passes 255.9; the one op keeps its
statistics in FP32 and has a kernel of its own. What isn't recognised stays as it is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from onnx import NodeProto, TensorProto

from tftrt_toolkit.precision.graph import Graph, attribute, is_square


@dataclasses.dataclass
class _Norm:
    """What was found: y = (x - mean) / deviation * gamma + beta over the axes from `axis` on."""

    x: str
    axis: int
    epsilon: float
    gamma: str | None
    beta: str | None
    output: str


def fuse_layer_norms(graph: Graph) -> None:
    """Replace each normalization that is recognised; needs opset 17, else changes nothing."""
    if graph.opset < 17:
        return
    for node in list(graph.nodes):
        norm = _match(graph, node) if node.op_type == "Sqrt" else None
        if norm is not None and _replace(graph, norm):
            graph.refresh()


def _match(graph: Graph, root: NodeProto) -> _Norm | None:
    statistics = _match_statistics(graph, root)
    if statistics is None:
        return None
    x, mean, centred, axis, epsilon = statistics
    for taker in graph.consumers(root.output[0]):
        if taker.op_type == "Reciprocal":
            found = _from_inverse(graph, taker.output[0], x, mean, centred)
        elif taker.op_type == "Div" and taker.input[0] == centred:
            found = _scaled(graph, taker.output[0])
        else:
            continue
        if found is not None:
            return _Norm(x, axis, epsilon, *found)
    return None


def _match_statistics(graph: Graph, root: NodeProto) -> tuple[str, str, str, int, float] | None:
    """x, mean, x - mean, axis and epsilon behind `Sqrt(variance + epsilon)`."""
    add = graph.producers.get(root.input[0])
    if add is None or add.op_type != "Add":
        return None
    constants = [graph.constant(name) for name in add.input]
    position = 0 if constants[1] is not None else 1
    epsilon = constants[1 - position]
    variance = graph.producers.get(add.input[position])
    if epsilon is None or epsilon.size != 1 or variance is None or variance.op_type != "ReduceMean":
        return None
    square = graph.producers.get(variance.input[0])
    if square is None or not is_square(graph, square):
        return None
    centre = graph.producers.get(square.input[0])
    if centre is None or centre.op_type != "Sub":
        return None
    x, mean = centre.input
    reduce = graph.producers.get(mean)
    if reduce is None or reduce.op_type != "ReduceMean" or reduce.input[0] != x:
        return None
    axis = _trailing_axis(graph, reduce, x)
    if axis is None or axis != _trailing_axis(graph, variance, x):
        return None
    return x, mean, centre.output[0], axis, float(epsilon.reshape(-1)[0])


def _trailing_axis(graph: Graph, reduce: NodeProto, x: str) -> int | None:
    """The first axis, counted from the end, of a mean over all the axes from there on."""
    shape = graph.shape(x)
    axes = attribute(reduce, "axes")
    if axes is None and len(reduce.input) > 1:
        value = graph.constant(reduce.input[1])
        axes = None if value is None else value.tolist()
    if not axes or shape is None or not attribute(reduce, "keepdims", 1):
        return None
    from_end = sorted(axis if axis < 0 else axis - len(shape) for axis in axes)
    return from_end[0] if from_end == list(range(-len(axes), 0)) else None


def _from_inverse(
    graph: Graph, inverse: str, x: str, mean: str, centred: str
) -> tuple[str | None, str | None, str] | None:
    """Gamma, beta and output of what is made of 1 / deviation."""
    takers = graph.consumers(inverse)
    if len(takers) == 1 and takers[0].op_type == "Mul":
        other = _other(takers[0], inverse)
        if other == centred:
            return _scaled(graph, takers[0].output[0])
        if graph.is_constant(other):
            return _from_scale(graph, takers[0].output[0], x, mean, centred, other)
    return _from_scale(graph, inverse, x, mean, centred, None)


def _from_scale(
    graph: Graph, scale: str, x: str, mean: str, centred: str, gamma: str | None
) -> tuple[str | None, str | None, str] | None:
    """The same of gamma / deviation: `x * scale + (beta - mean * scale)`, either way round."""
    product = _product(graph, scale, x)
    if product is None:
        product = _product(graph, scale, centred)
        if product is None:
            return None
        beta, output = _shift(graph, product)
        return gamma, beta, output
    for sign in ("mean", "negated"):
        source = mean if sign == "mean" else _negation(graph, mean)
        offset = _product(graph, scale, source) if source else None
        if offset is None:
            continue
        taker = graph.only_consumer(product)
        if taker is None:
            return None
        if sign == "negated":
            beta, offset = _shift(graph, offset, stop=taker)
            good = taker.op_type == "Add" and _other(taker, product) == offset
        else:
            beta, good = None, taker.op_type == "Sub" and list(taker.input) == [product, offset]
            minus = graph.only_consumer(offset)
            if not good and minus is not None and minus.op_type == "Sub":
                beta = minus.input[0] if graph.is_constant(minus.input[0]) else None
                good = beta is not None and taker.op_type == "Add"
                good = good and _other(taker, product) == minus.output[0]
        return (gamma, beta, taker.output[0]) if good else None
    return None


def _scaled(graph: Graph, normal: str) -> tuple[str | None, str | None, str]:
    """Gamma and beta behind a tensor that is already normalized, as far as there are any."""
    taker = graph.only_consumer(normal)
    gamma = None
    if taker is not None and taker.op_type == "Mul" and graph.is_constant(_other(taker, normal)):
        gamma, normal = _other(taker, normal), taker.output[0]
    beta, output = _shift(graph, normal)
    return gamma, beta, output


def _shift(graph: Graph, tensor: str, stop: NodeProto | None = None) -> tuple[str | None, str]:
    """The constant that is added to a tensor next, if one is, and the sum."""
    taker = graph.only_consumer(tensor)
    if taker is None or taker is stop or taker.op_type != "Add":
        return None, tensor
    other = _other(taker, tensor)
    return (other, taker.output[0]) if graph.is_constant(other) else (None, tensor)


def _product(graph: Graph, first: str, second: str) -> str | None:
    for taker in graph.consumers(first):
        if taker.op_type == "Mul" and set(taker.input) == {first, second}:
            return taker.output[0]
    return None


def _negation(graph: Graph, tensor: str) -> str | None:
    for taker in graph.consumers(tensor):
        if taker.op_type == "Neg":
            return taker.output[0]
    return None


def _other(node: NodeProto, tensor: str) -> str:
    return node.input[1] if node.input[0] == tensor else node.input[0]


def _replace(graph: Graph, norm: _Norm) -> bool:
    shape = graph.shape(norm.x)
    trailing = shape[norm.axis :] if shape else ()
    sizes = tuple(size for size in trailing if size is not None)
    if not sizes or len(sizes) < len(trailing):
        return False
    inputs = [norm.x]
    for name, default in ((norm.gamma, 1.0), (norm.beta, 0.0)):
        value = np.full((), default) if name is None else graph.constant(name)
        if value is None or not _fits(value.shape, sizes):
            return False
        whole = np.broadcast_to(value.reshape(value.shape[-len(sizes) :]), sizes)
        inputs.append(graph.add_constant(f"{norm.output}/norm", whole.astype(np.float32)))
    last = graph.producers[norm.output]
    fused = graph.make_node(
        "LayerNormalization",
        inputs,
        norm.output,
        TensorProto.FLOAT,
        axis=norm.axis,
        epsilon=norm.epsilon,
    )
    graph.insert_after(last, fused)
    graph.remove([last])
    return True


def _fits(shape: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    """Whether a constant of that shape is one value for each element that is normalized."""
    lead, trail = shape[: -len(sizes)], shape[-len(sizes) :]
    return all(dim == 1 for dim in lead) and all(
        dim in (1, size) for dim, size in zip(trail[::-1], sizes[::-1], strict=False)
    )
