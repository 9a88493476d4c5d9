"""From a segment to its ONNX model, step by step."""

from __future__ import annotations

import onnx

from tftrt_toolkit.artifacts import FrozenGraph, OnnxModel, Segment
from tftrt_toolkit.errors import ExportError
from tftrt_toolkit.export.canonical import canonicalize
from tftrt_toolkit.export.interface import declare_interface, name_outputs
from tftrt_toolkit.export.mapping import MappingError, map_graph
from tftrt_toolkit.export.validate import check_dtypes, validate
from tftrt_toolkit.export.weights import attach_weights, fold_weights
from tftrt_toolkit.subgraph import Subgraph, build_subgraph


def export_segment(graph: FrozenGraph, segment: Segment) -> OnnxModel:
    """The ONNX form (opset 18) of a segment, FP32 where the segment is.

    Inputs and outputs bear the segment's tensor names, dtypes and order. Unknown dimensions are
    named; two have one name only where shape inference shows them equal. Weights lie beside the
    graph, as views of `graph.weights` where their layout allows. The same segment gives the same
    bytes in every process.

    Raises ExportError, with the nodes to blame, where an op or its attributes can't be mapped.
    """
    try:
        return _export(graph, segment)
    except MappingError as error:
        known = set(segment.nodes)
        nodes = {_origin(name, known) for name in error.nodes} - {None}
        order = [name for name in segment.nodes if name in nodes]
        raise ExportError(segment.name, tuple(order), str(error)) from error


def _export(graph: FrozenGraph, segment: Segment) -> OnnxModel:
    check_dtypes(graph, segment)
    subgraph = build_subgraph(graph, segment)
    proto = map_graph(
        subgraph.graph,
        [tensor.name for tensor in (*subgraph.inputs, *subgraph.weights.values())],
        [tensor.name for tensor in subgraph.outputs],
    )
    _rename_placeholders(proto, subgraph, segment)
    canonicalize(proto.graph)
    arrays = {f"{name}:0": graph.weights[name].value for name in segment.weights}
    weights = fold_weights(proto.graph, arrays)
    declare_interface(proto.graph, segment, weights)
    inferred = validate(proto)
    name_outputs(proto.graph, inferred.graph, segment)
    attach_weights(proto.graph, weights)
    return OnnxModel(proto=proto, weights=weights)


def _rename_placeholders(proto: onnx.ModelProto, subgraph: Subgraph, segment: Segment) -> None:
    """Give inputs that are a node's second output or later their own names."""
    names = {
        tensor.name: spec.name
        for tensor, spec in zip(subgraph.inputs, segment.inputs, strict=True)
        if tensor.name != spec.name
    }
    for value in proto.graph.input:
        value.name = names.get(value.name, value.name)
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)


def _origin(name: str, known: set[str]) -> str | None:
    """The TensorFlow node that an ONNX node comes from: tf2onnx appends `__12` or `_Op__12`."""
    while name:
        if name in known:
            return name
        name = name.rpartition("_")[0]
    return None
