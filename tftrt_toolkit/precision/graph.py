"""An ONNX graph that rules may change: who makes and who takes each tensor, its type, its value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.onnx_model import external_tensor
from tftrt_toolkit.protos import copied

# Arrays from this size on lie beside the graph.
_LARGE = 4096


class Graph:
    """A private copy of a model's graph; weights are shared with the model until replaced.

    nodes: in topological order; rules may insert, change and remove them and call `refresh`.
    """

    def __init__(self, model: OnnxModel) -> None:
        """Copy the graph, not the weights; infer the type and, where possible, shape of tensors."""
        self._proto = onnx.ModelProto()
        self._proto.CopyFrom(model.proto)
        graph = self._proto.graph
        self.nodes: list[NodeProto] = list(graph.node)
        self.inputs = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]
        self._weights = dict(model.weights)
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._constants: dict[str, np.ndarray] = {}
        self._names = self._all_names()
        self._infer()
        self.refresh()

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        return next(
            one.version for one in self._proto.opset_import if one.domain in ("", "ai.onnx")
        )

    def require_opset(self, version: int) -> None:
        """Raise the opset to at least `version`, each op converted and checked by onnx itself."""
        if self.opset >= version:
            return
        proto = onnx.version_converter.convert_version(self.finish().proto, version)
        least = helper.find_min_ir_version_for(proto.opset_import, ignore_unknown=True)
        proto.ir_version = max(proto.ir_version, least)
        self._proto = proto
        graph = self._proto.graph
        self.nodes = list(graph.node)
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._names = self._all_names()
        self._constants = {}
        self._infer()
        self.refresh()

    def refresh(self) -> None:
        """Rebuild `producers` and `consumers` after nodes were changed."""
        self.producers: dict[str, NodeProto] = {}
        self._consumers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.output:
                if name:
                    self.producers[name] = node
            for name in dict.fromkeys([*node.input, *captured(node)]):
                if name:
                    self._consumers.setdefault(name, []).append(node)

    def consumers(self, tensor: str) -> list[NodeProto]:
        """The nodes that take a tensor, those whose bodies capture it too."""
        return self._consumers.get(tensor, [])

    def only_consumer(self, tensor: str) -> NodeProto | None:
        """The one node that takes a tensor, unless it is also an output of the graph."""
        takers = self.consumers(tensor)
        return takers[0] if len(takers) == 1 and tensor not in self.outputs else None

    def dtype(self, tensor: str) -> int:
        """TensorProto's element type; UNDEFINED if it couldn't be inferred."""
        if tensor in self._initializers:
            return self._initializers[tensor].data_type
        return self._types.get(tensor, TensorProto.UNDEFINED)

    def set_dtype(self, tensor: str, dtype: int) -> None:
        """Record the type of a tensor that a rule made."""
        self._types[tensor] = dtype

    def shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """Dimensions, None where unknown; None if the rank is unknown."""
        if tensor in self._initializers:
            return tuple(self._initializers[tensor].dims)
        return self._shapes.get(tensor)

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor is an initializer or comes from a Constant node."""
        producer = self.producers.get(tensor)
        return tensor in self._initializers or bool(producer and producer.op_type == "Constant")

    def constant(self, tensor: str) -> np.ndarray | None:
        """The value of a constant, not to be changed; None of anything else."""
        if tensor in self._weights:
            return self._weights[tensor]
        if tensor not in self._constants:
            if tensor in self._initializers:
                self._constants[tensor] = numpy_helper.to_array(self._initializers[tensor])
            else:
                producer = self.producers.get(tensor)
                if producer is None or producer.op_type != "Constant":
                    return None
                self._constants[tensor] = _constant_value(producer)
        return self._constants[tensor]

    def add_constant(self, name: str, value: np.ndarray) -> str:
        """A new initializer, beside the graph if it is large; returns its name."""
        name = self.fresh(name)
        if value.size >= _LARGE:
            self._initializers[name] = external_tensor(name, value)
            self._weights[name] = np.ascontiguousarray(value)
        else:
            self._initializers[name] = numpy_helper.from_array(value, name)
        return name

    def add_packed(self, name: str, packed: np.ndarray, dtype: int, dims: Sequence[int]) -> str:
        """A new initializer of a four-bit type, from its bytes; it lies beside the graph."""
        name = self.fresh(name)
        self._initializers[name] = TensorProto(
            name=name, data_type=dtype, dims=dims, data_location=TensorProto.EXTERNAL
        )
        self._weights[name] = packed
        return name

    def fresh(self, name: str) -> str:
        """`name`, or `name_2`, ... if that is taken."""
        candidate, count = name, 1
        while candidate in self._names:
            count += 1
            candidate = f"{name}_{count}"
        self._names.add(candidate)
        return candidate

    def make_node(
        self, op: str, inputs: Sequence[str], output: str, dtype: int, **attributes: Any
    ) -> NodeProto:
        """A new node, named after its one output; the caller puts it into `nodes`."""
        node = helper.make_node(
            op, inputs, [output], name=self.fresh(f"{output}/{op}"), **attributes
        )
        self._names.add(output)
        self.set_dtype(output, dtype)
        return node

    def insert_after(self, place: NodeProto, *nodes: NodeProto) -> None:
        """Put nodes right behind another."""
        index = next(i for i, node in enumerate(self.nodes) if node is place)
        self.nodes[index + 1 : index + 1] = nodes

    def remove(self, dead: Iterable[NodeProto]) -> None:
        """Take nodes out."""
        gone = {id(node) for node in dead}
        self.nodes = [node for node in self.nodes if id(node) not in gone]

    def finish(self) -> OnnxModel:
        """The model as it is now: dead nodes and unused weights dropped, order checked."""
        nodes = self._alive()
        used = {name for node in nodes for name in (*node.input, *captured(node))}
        used.update(self.outputs)
        kept = [tensor for name, tensor in self._initializers.items() if name in used]
        _check_order(nodes, {*self.inputs, *(tensor.name for tensor in kept)})
        proto = copied(self._proto)
        for field, values in (("value_info", []), ("node", nodes), ("initializer", kept)):
            proto.graph.ClearField(field)
            getattr(proto.graph, field).extend(values)
        names = {tensor.name for tensor in kept}
        return OnnxModel(proto, {k: v for k, v in self._weights.items() if k in names})

    def _alive(self) -> list[NodeProto]:
        needed, alive = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                alive.append(node)
                needed.update(node.input, captured(node))
        return alive[::-1]

    def _all_names(self) -> set[str]:
        names = {*self.inputs, *self._initializers}
        for node in self.nodes:
            names.update((*node.output, node.name))
        return names

    def _infer(self) -> None:
        """Types and shapes from onnx's inference, which needs no weights."""
        inferred = onnx.shape_inference.infer_shapes(self._proto, data_prop=True).graph
        self._types: dict[str, int] = {}
        self._shapes: dict[str, tuple[int | None, ...]] = {}
        for value in (*inferred.input, *inferred.output, *inferred.value_info):
            tensor = value.type.tensor_type
            self._types[value.name] = tensor.elem_type
            if tensor.HasField("shape"):
                self._shapes[value.name] = tuple(
                    dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim
                )


def captured(node: NodeProto) -> Iterator[str]:
    """Names that the bodies of an If, Loop or Scan may take from the graph around them."""
    for attribute in node.attribute:
        bodies = attribute.graphs if attribute.graphs else [attribute.g]
        for body in bodies:
            for inner in body.node:
                yield from inner.input
                yield from captured(inner)
            yield from (value.name for value in body.output)


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value, or the default."""
    for one in node.attribute:
        if one.name == name:
            return helper.get_attribute_value(one)
    return default


def has_body(node: NodeProto) -> bool:
    """Whether a node holds graphs of its own (If, Loop, Scan)."""
    return any(one.HasField("g") or one.graphs for one in node.attribute)


def _constant_value(node: NodeProto) -> np.ndarray:
    for one in node.attribute:
        if one.name == "value":
            return numpy_helper.to_array(one.t)
        if one.name in ("value_float", "value_floats"):
            return np.array(helper.get_attribute_value(one), np.float32)
        if one.name in ("value_int", "value_ints"):
            return np.array(helper.get_attribute_value(one), np.int64)
    raise InternalError(f"Constant node {node.name!r} has a value of an unknown kind")


def _check_order(nodes: Sequence[NodeProto], known: set[str]) -> None:
    for node in nodes:
        for name in node.input:
            if name and name not in known:
                raise InternalError(
                    f"{node.op_type} {node.name!r} takes {name!r} before it is made"
                )
        known.update(node.output)


def is_square(graph: Graph, node: NodeProto) -> bool:
    """Whether a node squares its first input: x * x, or x to the power of the constant 2."""
    if node.op_type == "Mul":
        return node.input[0] == node.input[1]
    power = graph.constant(node.input[1]) if node.op_type == "Pow" else None
    return power is not None and power.size == 1 and float(power.reshape(-1)[0]) == 2.0
