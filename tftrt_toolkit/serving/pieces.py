"""Cuts a converted signature into pieces that other runtimes run: its engines, and what is between.

    native 0 -> engines 0 -> native 1 -> engines 1 -> ...

A native node belongs to the stage after the last engine that it depends on, and all native nodes of
a stage are one piece: the pieces depend on each other in this order only.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
import tensorflow as tf

from tftrt_toolkit.artifacts import FrozenFunction, FrozenGraph, Segment, TensorSpec, TypedOnnx
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import ConversionError, ExportError
from tftrt_toolkit.export import export_segment
from tftrt_toolkit.functions import called_functions
from tftrt_toolkit.graph import data_inputs, node_of
from tftrt_toolkit.protos import copied

_ENGINE_OP = "TRTEngineOp"


@dataclasses.dataclass(frozen=True)
class Piece:
    """One step of a served model.

    inputs, outputs: tensors of the signature's graph, in the order of `onnx`'s inputs and outputs;
      `onnx_inputs` and `onnx_outputs` are its names for them.
    asset: the engine's, None for a native piece.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    onnx: TypedOnnx
    asset: AssetFile | None

    @property
    def onnx_inputs(self) -> list[str]:
        """Names of the ONNX model's inputs, which are the plan's too."""
        return [value.name for value in self.onnx.model.proto.graph.input]

    @property
    def onnx_outputs(self) -> list[str]:
        """Names of the ONNX model's outputs, which are the plan's too."""
        return [value.name for value in self.onnx.model.proto.graph.output]


def split(frozen: FrozenFunction, assets: Mapping[str, Path]) -> list[Piece]:
    """The pieces of a converted signature, each behind those that it takes tensors from.

    assets: last part of an engine node's name -> its asset.

    Raises ConversionError where a native part has no ONNX form, or needs what only TensorFlow has.
    """
    graph = frozen.graph
    _refuse_inner_engines(graph)
    nodes = {node.name: node for node in graph.graph_def.node}
    needed = _needed(graph, nodes)
    stages = _stages(nodes, needed, _sources(graph))
    pieces = []
    for stage in range(max(stages.values(), default=0) + 1):
        mine = [name for name in nodes if stages.get(name) == stage]
        native = [name for name in mine if nodes[name].op != _ENGINE_OP]
        if native:
            pieces.append(_native(graph, nodes, native, f"native_{stage}", needed))
        engines = [name for name in mine if nodes[name].op == _ENGINE_OP]
        pieces += [_engine(graph, nodes[name], assets) for name in engines]
    return pieces


def with_names(piece: Piece, names: Mapping[str, str]) -> Piece:
    """The same piece, its ONNX model's inputs and outputs renamed: tensor -> its new name."""
    specs = (*piece.inputs, *piece.outputs)
    new = {
        own: names[spec.name]
        for own, spec in zip((*piece.onnx_inputs, *piece.onnx_outputs), specs, strict=True)
    }
    proto = copied(piece.onnx.model.proto)
    _rename(proto.graph, new)
    model = dataclasses.replace(piece.onnx.model, proto=proto)
    return dataclasses.replace(piece, onnx=dataclasses.replace(piece.onnx, model=model))


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename tensors, in the bodies that capture them too."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                _rename(body, names)


def _refuse_inner_engines(graph: FrozenGraph) -> None:
    for node in graph.graph_def.node:
        for call in called_functions(node):
            if call.name in graph.bodies and _holds_engine(graph.bodies[call.name]):
                raise ConversionError(
                    f"{node.op} {node.name} has engines inside, which a Triton ensemble can't "
                    "repeat or skip: serve the model's native form with export_tf_serving"
                )


def _holds_engine(graph: FrozenGraph) -> bool:
    own = any(node.op == _ENGINE_OP for node in graph.graph_def.node)
    return own or any(_holds_engine(body) for body in graph.bodies.values())


def _sources(graph: FrozenGraph) -> set[str]:
    """Nodes that every piece may hold, or that come from outside."""
    constants = {node.name for node in graph.graph_def.node if node.op == "Const"}
    return constants - {node_of(result) for result in graph.results} | {
        *graph.arguments,
        *graph.weights,
    }


def _needed(graph: FrozenGraph, nodes: Mapping[str, Any]) -> set[str]:
    """Tensors that a result depends on."""
    needed: set[str] = set()
    waiting = list(graph.results)
    while waiting:
        tensor = waiting.pop()
        if tensor not in needed:
            needed.add(tensor)
            waiting.extend(data_inputs(nodes[node_of(tensor)]))
    return needed


def _stages(nodes: Mapping[str, Any], needed: Iterable[str], sources: set[str]) -> dict[str, int]:
    """Node -> its stage, of all that compute; `nodes` are in topological order."""
    wanted = {node_of(tensor) for tensor in needed} - sources
    stages: dict[str, int] = {}
    for name, node in nodes.items():
        if name not in wanted:
            continue
        before = {node_of(tensor) for tensor in data_inputs(node)} - sources
        stages[name] = max(
            (stages[one] + (nodes[one].op == _ENGINE_OP) for one in before), default=0
        )
    return stages


def _native(
    graph: FrozenGraph,
    nodes: Mapping[str, Any],
    members: list[str],
    name: str,
    needed: set[str],
) -> Piece:
    inside = set(members)
    taken = list(dict.fromkeys(t for one in members for t in data_inputs(nodes[one])))
    held = {
        node_of(tensor)
        for tensor in taken
        if node_of(tensor) in graph.weights or nodes[node_of(tensor)].op == "Const"
    }
    inputs = [tensor for tensor in taken if node_of(tensor) not in inside | held]
    outside = {
        tensor
        for other, node in nodes.items()
        if other not in inside
        for tensor in data_inputs(node)
        if tensor in needed
    } | set(graph.results)
    outputs = sorted(tensor for tensor in outside if node_of(tensor) in inside)
    for one in members:
        for tensor in (*data_inputs(nodes[one]), f"{one}:0"):
            kind = graph.tensors[tensor].dtype if tensor in graph.tensors else None
            if kind in (tf.resource, tf.variant):
                raise ConversionError(
                    f"{nodes[one].op} {one} works on a {kind.name}, which only TensorFlow has: "
                    "serve the model's native form with export_tf_serving"
                )
    segment = Segment(
        name=name,
        graph=graph.name,
        nodes=tuple(one for one in nodes if one in inside | held),
        inputs=tuple(graph.tensors[tensor] for tensor in inputs),
        outputs=tuple(graph.tensors[tensor] for tensor in outputs),
        weights=tuple(one for one in nodes if one in held and one in graph.weights),
        control_inputs=(),
        op_counts=Counter(nodes[one].op for one in members),
    )
    try:
        model = export_segment(graph, segment)
    except ExportError as error:
        blamed = ", ".join(f"{nodes[one].op} {one}" for one in error.nodes[:3]) or name
        raise ConversionError(
            f"what TensorFlow runs between the engines has no ONNX form ({blamed}: "
            f"{error.reason}): serve the model's native form with export_tf_serving"
        ) from error
    return _piece(name, graph, inputs, outputs, TypedOnnx(model, "FP32"), None)


def _engine(graph: FrozenGraph, node: Any, assets: Mapping[str, Path]) -> Piece:
    base = node.name.rpartition("/")[2]
    if base not in assets:
        raise ConversionError(
            f"{node.name} has no asset to take a plan or ONNX from: convert the model again"
        )
    asset = AssetFile.open(assets[base])
    typed = asset.load_onnx()
    inputs = list(data_inputs(node))[: len(asset.inputs)]
    outputs = [f"{node.name}:{index}" for index in range(len(asset.outputs))]
    return _piece(base.lower(), graph, inputs, outputs, typed, asset)


def _piece(
    name: str,
    graph: FrozenGraph,
    inputs: Iterable[str],
    outputs: Iterable[str],
    typed: TypedOnnx,
    asset: AssetFile | None,
) -> Piece:
    """A piece whose tensors have the shapes that its ONNX model declares."""
    proto = typed.model.proto.graph

    def specs(names: Iterable[str], values: Iterable[Any]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(tensor, graph.tensors[tensor].dtype, _shape(value))
            for tensor, value in zip(names, values, strict=True)
        )

    return Piece(name, specs(inputs, proto.input), specs(outputs, proto.output), typed, asset)


def _shape(value: Any) -> tf.TensorShape:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return tf.TensorShape(None)
    dims = tensor.shape.dim
    return tf.TensorShape([one.dim_value if one.HasField("dim_value") else None for one in dims])
