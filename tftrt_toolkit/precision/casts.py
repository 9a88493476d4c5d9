"""Writes a precision into the graph: casts where a low and a high node meet, weights cast once.

    before   y = Relu(x)                       x, y float
    after    x_fp16 = Cast(x)   y_fp16 = Relu(x_fp16)   y = Cast(y_fp16)

Inputs and outputs of the graph keep their types. An input that the operator takes only as float
(the scales of a Resize, say) stays float.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx
from ml_dtypes import bfloat16
from onnx import NodeProto, TensorProto, helper

from tftrt_toolkit.precision.graph import Graph, attribute, captured, has_body

NUMPY: dict[int, np.dtype] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(bfloat16),
}
_TYPE_STRING: dict[int, str] = {
    TensorProto.FLOAT: "tensor(float)",
    TensorProto.FLOAT16: "tensor(float16)",
    TensorProto.BFLOAT16: "tensor(bfloat16)",
}
_SUFFIX: dict[int, str] = {
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.FLOAT: "fp32",
}
FLOAT = TensorProto.FLOAT


def can_be_low(graph: Graph, node: NodeProto, low: int) -> bool:
    """Whether an operator takes its float inputs, or some of them, in the low type."""
    if has_body(node):
        return False
    if node.op_type in ("Cast", "ConstantOfShape", "Constant"):
        return node.op_type == "Constant" or graph.dtype(node.output[0]) == FLOAT
    return any(_flexible(graph, node, low))


def apply_casts(graph: Graph, low: int, high: Collection[int]) -> None:
    """Make every float node low but those in `high` (ids of NodeProtos), and those that can't be.

    `low` is FLOAT16 or BFLOAT16. Nodes stay in topological order.
    """
    _Caster(graph, low, high).run()


class _Caster:
    def __init__(self, graph: Graph, low: int, high: Collection[int]) -> None:
        self._graph = graph
        self._low = low
        self._high = high
        self._nodes: list[NodeProto] = []
        # (tensor of the graph before, type) -> name of the tensor that holds it in that type.
        self._versions: dict[tuple[str, int], str] = {}
        # Recorded in the graph at the end: on the way, types are those of the graph before.
        self._lowered: list[str] = []
        self._captured = {name for node in graph.nodes for name in captured(node)}

    def run(self) -> None:
        graph = self._graph
        for node in list(graph.nodes):
            if node.op_type == "Constant":
                self._nodes.append(node)
                continue
            low = id(node) not in self._high and can_be_low(graph, node, self._low)
            low = low and not self._captured.intersection(node.output)
            self._retype(node, low)
        for name in self._lowered:
            graph.set_dtype(name, self._low)
        graph.nodes = self._nodes
        graph.refresh()

    def _retype(self, node: NodeProto, low: bool) -> None:
        graph = self._graph
        makes_low = low
        if low and node.op_type not in ("Cast", "ConstantOfShape"):
            makes_low = False
            for index, flexible in enumerate(_flexible(graph, node, self._low)):
                if flexible:
                    node.input[index] = self._version(node.input[index], self._low)
                    makes_low = True
                elif node.input[index]:
                    node.input[index] = self._version(node.input[index], FLOAT)
        else:
            for index, name in enumerate(node.input):
                keep = node.op_type == "Cast" and (name, self._low) in self._versions
                node.input[index] = self._version(name, self._low if keep else FLOAT)
        self._nodes.append(node)
        for index, name in enumerate(node.output):
            if name and makes_low and graph.dtype(name) == FLOAT and _follows(graph, node, index):
                self._make_low(node, index)
        if makes_low and node.op_type == "Cast":
            set_attribute(node, "to", self._low)
        if makes_low and node.op_type == "ConstantOfShape":
            value = attribute(node, "value")
            array = np.zeros(1, np.float32) if value is None else onnx.numpy_helper.to_array(value)
            low_value = onnx.numpy_helper.from_array(array.astype(NUMPY[self._low]))
            set_attribute(node, "value", low_value)

    def _make_low(self, node: NodeProto, index: int) -> None:
        name = node.output[index]
        if name in self._graph.outputs:
            node.output[index] = self._graph.fresh(f"{name}/{_SUFFIX[self._low]}")
            self._versions[name, self._low] = node.output[index]
            self._nodes.append(self._cast(node.output[index], name, FLOAT))
        else:
            self._versions[name, self._low] = name
        self._lowered.append(node.output[index])

    def _version(self, name: str, dtype: int) -> str:
        """The tensor in the type that is asked for, cast if it has to be; others as they are."""
        graph = self._graph
        if (name, dtype) in self._versions:
            return self._versions[name, dtype]
        if (name, self._low) not in self._versions and (dtype == FLOAT or not self._is_float(name)):
            return name
        if graph.is_constant(name):
            made = self._low_constant(name)
        else:
            source = self._versions.get((name, self._low), name)
            made = graph.fresh(f"{name}/{_SUFFIX[dtype]}")
            self._nodes.append(self._cast(source, made, dtype))
        self._versions[name, dtype] = made
        return made

    def _is_float(self, name: str) -> bool:
        return self._graph.dtype(name) == FLOAT

    def _low_constant(self, name: str) -> str:
        value = self._graph.constant(name)
        assert value is not None
        with np.errstate(over="ignore"):  # infinities are meant; other excesses have an island
            return self._graph.add_constant(
                f"{name}/{_SUFFIX[self._low]}", value.astype(NUMPY[self._low])
            )

    def _cast(self, source: str, output: str, dtype: int) -> NodeProto:
        return self._graph.make_node("Cast", [source], output, dtype, to=dtype)


def _flexible(graph: Graph, node: NodeProto, low: int) -> Iterator[bool]:
    """For each input, whether it is float now and the operator takes it in the low type too."""
    schema = _schema(graph, node)
    for index, name in enumerate(node.input):
        if not name or graph.dtype(name) != FLOAT or schema is None:
            yield False
            continue
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        yield _TYPE_STRING[low] in formal.types


def _follows(graph: Graph, node: NodeProto, index: int) -> bool:
    """Whether an output's type is that of an input (or of the attribute that we change)."""
    if node.op_type in ("Cast", "ConstantOfShape"):
        return True
    schema = _schema(graph, node)
    if schema is None:
        return False
    formal = schema.outputs[min(index, len(schema.outputs) - 1)]
    return any(
        formal.type_str == schema.inputs[min(position, len(schema.inputs) - 1)].type_str
        for position, name in enumerate(node.input)
        if name
    )


def _schema(graph: Graph, node: NodeProto) -> onnx.defs.OpSchema | None:
    if node.domain not in ("", "ai.onnx"):
        return None
    return onnx.defs.get_schema(node.op_type, graph.opset, "")


def set_attribute(node: NodeProto, name: str, value: object) -> None:
    """Give an attribute another value."""
    kept = [one for one in node.attribute if one.name != name]
    node.ClearField("attribute")
    node.attribute.extend([*kept, helper.make_attribute(name, value)])
