"""Large values leave the graph here: each becomes a stub node, and a Weight beside the graph.

While grappler works, a stub is an ImmutableConst: grappler knows its shape, never folds it, and
allocates nothing for it, whereas it fills a Placeholder of its full size. `reveal` turns the stubs
that survive into the Placeholders that `FrozenGraph` promises.

Small float matrices are kept from folding too, for grappler pushes multiplications into constant
convolution kernels, here and again when TensorFlow runs the result, and results would drift from
the original's. Variables among them stay weights; Consts are Consts again at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import Weight
from tftrt_toolkit.errors import ModelError, error_line

# Up to so many elements a value stays in the graph as a Const, so that shapes, axes, biases and
# scales fold with what surrounds them.
SMALL = 4096
_STUB = "ImmutableConst"
_CONSTANT = "_tftrt_constant"
_NO_ARRAY = (tf.string, tf.resource, tf.variant)
# numpy can't lend buffers of these; a bitcast of the tensor shares its memory all the same.
_BITCASTS = {1: tf.uint8, 2: tf.uint16}


class Values:
    """Arrays of eager tensors and of the variables behind handles: each read once, none copied."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._arrays: dict[tuple[int, str], np.ndarray] = {}

    def tensor(self, tensor: Any) -> np.ndarray:
        """The value of an eager tensor, as a read-only view of its buffer (copied off a GPU)."""
        key = (id(tensor), "tensor")
        if key not in self._arrays:
            self._arrays[key] = host_view(tensor)
        return self._arrays[key]

    def variable(self, handle: Any, dtype: tf.DType) -> np.ndarray:
        """The value of a variable. An assignment later leaves the view's own buffer untouched.

        Raises ModelError if the variable was never initialized.
        """
        key = (id(handle), dtype.name)
        if key not in self._arrays:
            try:
                value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)
            except tf.errors.OpError as error:
                raise ModelError(
                    "a variable of the model has no value "
                    f"({error_line(error)}): export the model with its variables"
                ) from error
            self._arrays[key] = host_view(value)
        return self._arrays[key]


def host_view(tensor: Any) -> np.ndarray:
    """An eager tensor's buffer as a read-only array; no copy if it is in host memory."""
    try:
        view = np.asarray(memoryview(tensor))
    except (ValueError, BufferError):
        dtype = tensor.dtype.as_numpy_dtype
        bits = tf.bitcast(tensor, _BITCASTS[np.dtype(dtype).itemsize])
        view = np.asarray(memoryview(bits)).view(dtype)
    view = view.reshape(tuple(tensor.shape))
    view.flags.writeable = False
    return view


def has_array(dtype: tf.DType) -> bool:
    """Whether tensors of a dtype can be weights."""
    return dtype not in _NO_ARRAY


def folds(shape: tf.TensorShape, dtype: tf.DType) -> bool:
    """Whether a value of this shape and dtype is there for constant folding to work with."""
    return shape.num_elements() <= SMALL and not (dtype.is_floating and shape.rank >= 2)


def to_constant(node: Any, value: np.ndarray, dtype: int) -> None:
    """Turn a node into a Const in place; its name and device stay."""
    _reset(node, "Const", dtype)
    node.attr["value"].tensor.CopyFrom(
        tf.make_tensor_proto(value, dtype=tf.as_dtype(dtype), shape=value.shape)
    )


def to_stub(node: Any, shape: Iterable[int], dtype: int) -> None:
    """Turn a node into a stub in place; its name and device stay."""
    _reset(node, _STUB, dtype)
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    node.attr["memory_region_name"].s = node.name.encode()


def _reset(node: Any, op: str, dtype: int) -> None:
    name, device = node.name, node.device
    node.Clear()
    node.name, node.device, node.op = name, device, op
    node.attr["dtype"].type = dtype


def lift_constants(nodes: Iterable[Any], lifted: MutableMapping[str, Any]) -> set[str]:
    """Replace Consts that mustn't fold by stubs in place; returns their names.

    `lifted` gains a copy of each under a fresh key.
    """
    names = set()
    for node in nodes:
        if node.op != "Const" or node.input:  # a TF1 loop's Const waits for the loop
            continue
        tensor = node.attr["value"].tensor
        shape = tf.TensorShape(tensor.tensor_shape)
        dtype = tf.as_dtype(tensor.dtype)
        if folds(shape, dtype) or not has_array(dtype):
            continue
        key = str(len(lifted))
        lifted[key] = tf.compat.v1.NodeDef()
        lifted[key].CopyFrom(node)
        to_stub(node, shape, tensor.dtype)
        node.attr[_CONSTANT].s = key.encode()
        names.add(node.name)
    return names


def lift_function_constants(function: Any, lifted: MutableMapping[str, Any]) -> None:
    """`lift_constants` for a FunctionDef, which names a stub's output otherwise than a Const's."""
    names = lift_constants(function.node_def, lifted)
    renamed = {f"{name}:output:0": f"{name}:tensor:0" for name in names}
    for node in function.node_def:
        if not renamed.keys().isdisjoint(node.input):
            node.input[:] = [renamed.get(name, name) for name in node.input]
    for result, name in function.ret.items():
        function.ret[result] = renamed.get(name, name)


def lifted_weights(nodes: Iterable[Any], lifted: Mapping[str, Any]) -> dict[str, Weight]:
    """Weights of the stubs that `lift_constants` made; a Const inlined twice shares its array."""
    weights = {}
    arrays: dict[str, np.ndarray] = {}
    for node in nodes:
        if node.op != _STUB or _CONSTANT not in node.attr:
            continue
        key = node.attr[_CONSTANT].s.decode()
        if key not in arrays:
            arrays[key] = constant_array(lifted[key].attr["value"].tensor)
        reader = tf.compat.v1.NodeDef()
        reader.CopyFrom(lifted[key])
        reader.name, reader.device = node.name, node.device
        weights[node.name] = Weight(arrays[key], reader)
    return weights


def constant_array(tensor: Any) -> np.ndarray:
    """A TensorProto's value as a read-only array, over the proto's bytes where it has them."""
    dtype = tf.as_dtype(tensor.dtype).as_numpy_dtype
    if tensor.tensor_content:
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    array = tf.make_ndarray(tensor)
    array.flags.writeable = False
    return array


def reveal(nodes: Iterable[Any], weights: Mapping[str, Weight]) -> dict[str, Weight]:
    """Turn stubs into Placeholders, and small lifted Consts into Consts again, in place.

    Returns the weights that are left.
    """
    left = {}
    for node in nodes:
        if node.op != _STUB:
            continue
        weight = weights[node.name]
        if _CONSTANT in node.attr and weight.value.size <= SMALL:
            node.CopyFrom(weight.reader)
            continue
        node.op = "Placeholder"
        node.attr.pop("memory_region_name", None)
        node.attr.pop(_CONSTANT, None)
        left[node.name] = weight
    return left
