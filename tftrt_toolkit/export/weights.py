"""Weights join the mapped graph last, so that no step before has to carry their bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from tftrt_toolkit.onnx_model import external_tensor

_Attributes = Mapping[str, onnx.AttributeProto]
_Rule = Callable[[np.ndarray, "np.ndarray | None", _Attributes], np.ndarray]


def fold_weights(
    graph: onnx.GraphProto, weights: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Apply to the arrays what the graph does to weights alone; returns the arrays still used.

    Before: `Conv(x, Transpose(kernel))`, after: `Conv(x, kernel')` with the array transposed.
    Shape operations that keep the memory order give views; each array in the result is
    C-contiguous, which copies a kernel that was transposed, once.
    """
    arrays = dict(weights)
    small = {tensor.name: tensor for tensor in graph.initializer}
    results = {value.name for value in graph.output}
    kept = []
    for node in graph.node:  # in topological order
        folded = None if results & set(node.output) else _fold(node, arrays, small)
        if folded is None:
            kept.append(node)
        elif folded.dtype == np.int64 and node.op_type == "Shape":
            graph.initializer.append(numpy_helper.from_array(folded, node.output[0]))
            small[node.output[0]] = graph.initializer[-1]
        else:
            arrays[node.output[0]] = folded
    del graph.node[:]
    graph.node.extend(kept)
    used = _used_names(graph)
    unused = [tensor for tensor in graph.initializer if tensor.name not in used]
    for tensor in unused:
        graph.initializer.remove(tensor)
    return {name: np.ascontiguousarray(a) for name, a in arrays.items() if name in used}


def attach_weights(graph: onnx.GraphProto, weights: Mapping[str, np.ndarray]) -> None:
    """Turn the inputs that stand for weights into initializers whose bytes lie outside."""
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    graph.initializer.extend(external_tensor(name, array) for name, array in weights.items())


def _fold(
    node: onnx.NodeProto,
    arrays: Mapping[str, np.ndarray],
    small: Mapping[str, onnx.TensorProto],
) -> np.ndarray | None:
    rule = _RULES.get(node.op_type)
    if rule is None or node.input[0] not in arrays:
        return None
    argument = None
    if len(node.input) > 1:
        if node.input[1] not in small:
            return None
        argument = numpy_helper.to_array(small[node.input[1]])
    attributes = {attribute.name: attribute for attribute in node.attribute}
    return rule(arrays[node.input[0]], argument, attributes)


def _transpose(array: np.ndarray, _: np.ndarray | None, attributes: _Attributes) -> np.ndarray:
    return array.transpose(attributes["perm"].ints if "perm" in attributes else None)


def _reshape(array: np.ndarray, shape: np.ndarray | None, attributes: _Attributes) -> np.ndarray:
    assert shape is not None
    keeps_zeros = "allowzero" in attributes and attributes["allowzero"].i
    sizes = [
        array.shape[axis] if size == 0 and not keeps_zeros else size
        for axis, size in enumerate(shape.tolist())
    ]
    return array.reshape(sizes)


def _squeeze(array: np.ndarray, axes: np.ndarray | None, _: _Attributes) -> np.ndarray:
    return np.squeeze(array, None if axes is None else tuple(axes.tolist()))


def _unsqueeze(array: np.ndarray, axes: np.ndarray | None, _: _Attributes) -> np.ndarray:
    assert axes is not None
    return np.expand_dims(array, tuple(axes.tolist()))


def _cast(array: np.ndarray, _: np.ndarray | None, attributes: _Attributes) -> np.ndarray:
    return array.astype(onnx.helper.tensor_dtype_to_np_dtype(attributes["to"].i), copy=False)


def _shape(array: np.ndarray, _: np.ndarray | None, attributes: _Attributes) -> np.ndarray:
    start = attributes["start"].i if "start" in attributes else None
    end = attributes["end"].i if "end" in attributes else None
    return np.array(array.shape[start:end], np.int64)


_RULES: Mapping[str, _Rule] = {
    "Identity": lambda array, _, __: array,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Cast": _cast,
    "Shape": _shape,
}


def _used_names(graph: onnx.GraphProto) -> set[str]:
    """Names that nodes take, those in bodies included, and the graph's results."""
    used = {value.name for value in graph.output}
    for node in graph.node:
        used.update(node.input)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                used |= _used_names(attribute.g)
    return used
