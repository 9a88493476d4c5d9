"""Rule: a native function rounds where its engine does, so that both give the same numbers.

before   y = MatMul(x, w)
FP16     y = MatMul(x, w)   y/rounded = Cast<float>(Cast<half>(y)), which all others take
INT8     y = MatMul(x/quantized, w/quantized)   t/quantized = Clip(Round(t / scale)) * scale
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import Rounding, Scaling
from tftrt_toolkit.graph import is_control, node_of, tensor_of, topological

_FP8 = tf.dtypes.experimental.float8_e4m3fn


def rounded_nodes(nodes: Sequence[Any], rounding: Rounding) -> tuple[list[Any], dict[str, str]]:
    """Copies of NodeDefs with rounding between them; and tensor -> its rounded form, for results.

    nodes: all that are in the function, in any order.
    """
    writer = _Writer(rounding, {node.name for node in nodes})
    for node in topological(nodes):
        writer.add(node)
    return writer.nodes, writer.moved


class _Writer:
    def __init__(self, rounding: Rounding, names: set[str]) -> None:
        self.nodes: list[Any] = []
        self.moved: dict[str, str] = {}
        self._rounding = rounding
        self._names = names
        self._made: dict[tuple[str, str], str] = {}  # tensor, kind -> its rounded form
        self._outputs: dict[str, list[str]] = {}
        for tensor in sorted(rounding.outputs):
            self._outputs.setdefault(node_of(tensor), []).append(tensor)

    def add(self, node: Any) -> None:
        """A copy of the node that takes rounded inputs, and the rounding of what it makes."""
        copy = type(node)()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            if not is_control(name):
                copy.input[index] = self._input(node, index, tensor_of(name))
        self.nodes.append(copy)
        for tensor in self._outputs.get(node.name, ()):
            self.moved[tensor] = self._low(node, tensor)

    def _input(self, node: Any, index: int, tensor: str) -> str:
        source = self.moved.get(tensor, tensor)
        scaling = self._rounding.quantized.get((node.name, index))
        if scaling is not None:
            return self._once(source, f"quantized_{node.name}_{index}", node, scaling)
        if (node.name, index) in self._rounding.inputs:
            return self._once(source, "rounded", node, None)
        return source

    def _once(self, tensor: str, kind: str, node: Any, scaling: Scaling | None) -> str:
        if (tensor, kind) not in self._made:
            made = self._quantized(node, tensor, scaling) if scaling else self._low(node, tensor)
            self._made[tensor, kind] = made
        return self._made[tensor, kind]

    def _low(self, node: Any, tensor: str) -> str:
        low = self._cast(node, tensor, tf.float32, self._rounding.low)
        return self._cast(node, low, self._rounding.low, tf.float32)

    def _quantized(self, node: Any, tensor: str, scaling: Scaling) -> str:
        scale = self._constant(node, scaling.scale)
        scaled = self._make(node, "RealDiv", [tensor, scale], T=tf.float32)
        if scaling.target == "LOW":
            scaled = self._low(node, scaled)
        elif scaling.target == "INT8":
            whole = self._make(node, "Round", [scaled], T=tf.float32)
            scaled = self._clipped(node, whole, 127.0)
        else:
            scaled = self._clipped(node, scaled, 448.0)
            scaled = self._cast(node, scaled, tf.float32, _FP8)
            scaled = self._cast(node, scaled, _FP8, tf.float32)
        return self._make(node, "Mul", [scaled, scale], T=tf.float32)

    def _clipped(self, node: Any, tensor: str, greatest: float) -> str:
        limits = [self._constant(node, np.array(limit)) for limit in (-greatest, greatest)]
        return self._make(node, "ClipByValue", [tensor, *limits], T=tf.float32)

    def _cast(self, node: Any, tensor: str, source: tf.DType, target: tf.DType) -> str:
        return self._make(node, "Cast", [tensor], SrcT=source, DstT=target)

    def _constant(self, node: Any, value: np.ndarray) -> str:
        made = self._make(node, "Const", [], dtype=tf.float32)
        self.nodes[-1].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.float32))
        return made

    def _make(self, near: Any, op: str, inputs: Sequence[str], **types: tf.DType) -> str:
        """Add a node on the device of another; returns its output."""
        name, count = f"{near.name}/{op}_rounding", 0
        while name in self._names:
            count += 1
            name = f"{near.name}/{op}_rounding_{count}"
        self._names.add(name)
        node = tf.compat.v1.NodeDef(name=name, op=op, input=inputs, device=near.device)
        for key, dtype in types.items():
            node.attr[key].type = dtype.as_datatype_enum
        self.nodes.append(node)
        return f"{name}:0"
