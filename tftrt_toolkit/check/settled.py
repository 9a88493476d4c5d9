"""How far into a segment its ONNX and TensorFlow agree, so that only the rest is taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np
import onnx

from tftrt_toolkit.artifacts import FrozenGraph, OnnxModel, Segment
from tftrt_toolkit.check.compare import BOUND, Difference, difference
from tftrt_toolkit.graph import data_inputs, node_of
from tftrt_toolkit.onnx_model import run_session, to_session


def computed_tensors(model: OnnxModel) -> list[str]:
    """Names of the model's outputs and of all that its nodes yield."""
    given = {value.name for value in model.proto.graph.input}
    outputs = [value.name for value in model.proto.graph.output]
    inner = [name for node in model.proto.graph.node for name in node.output if name]
    return [name for name in dict.fromkeys([*outputs, *inner]) if name not in given]


def shared_differences(
    model: OnnxModel, values: Mapping[str, np.ndarray], inputs: Sequence[np.ndarray]
) -> dict[str, Difference]:
    """Run `model`; the difference of each tensor that it and TensorFlow know by one name.

    values: tensors of the segment as TensorFlow computes them from `inputs`. Where the mapping
    moved a transpose, the shapes differ under one name: an infinite difference, as for a wrong
    value. Raises SessionError.
    """
    return differences(values, run_watched(model, values.keys(), [inputs])[0])


def run_watched(
    model: OnnxModel, wanted: Set[str], batches: Sequence[Sequence[np.ndarray]]
) -> list[dict[str, np.ndarray]]:
    """Values of the wanted tensors, outputs or not, for each batch of inputs; those it computes.

    The graph runs as it stands, without ONNX Runtime's fusions, and its weights aren't copied.
    Raises SessionError.
    """
    names = [name for name in computed_tensors(model) if name in wanted]
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    watched = OnnxModel(proto, model.weights)
    session = to_session(watched, weights_as_inputs=True, optimize=False)
    runs = (run_session(session, watched, inputs) for inputs in batches)
    return [dict(zip(names, arrays, strict=True)) for arrays in runs]


def differences(
    expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray]
) -> dict[str, Difference]:
    """The difference of each tensor that both know."""
    return {
        name: difference(name, expected[name], value)
        for name, value in actual.items()
        if name in expected
    }


def settled_nodes(
    graph: FrozenGraph, segment: Segment, differences: Mapping[str, Difference]
) -> set[str]:
    """Nodes from which every way to an output passes a tensor that keeps BOUND end to end.

    A softmax that saturates, say, magnifies the rounding of a hundred sound layers: those are
    settled by its input, and the softmax alone is left to look at.
    """
    agreeing = {name for name, found in differences.items() if found.ratio <= BOUND}
    members = set(segment.nodes)
    nodes = {node.name: node for node in graph.graph_def.node if node.name in members}
    tensors = [spec.name for spec in segment.outputs]
    unsettled: set[str] = set()
    while tensors:
        tensor = tensors.pop()
        name = node_of(tensor)
        if tensor in agreeing or name in unsettled or name not in nodes:
            continue
        unsettled.add(name)
        tensors.extend(data_inputs(nodes[name]))
    return members - unsettled


def tensors_around(graph: FrozenGraph, segment: Segment, settled: Set[str]) -> set[str]:
    """Names of all tensors that the segment's other nodes take and yield, constants left out."""
    left = set(segment.nodes) - settled
    fixed = constant_nodes(graph, segment)
    taken = (
        name for node in graph.graph_def.node if node.name in left for name in data_inputs(node)
    )
    around = {*taken, *(name for name in graph.tensors if node_of(name) in left)}
    return {name for name in around if node_of(name) not in fixed}


def constant_nodes(graph: FrozenGraph, segment: Segment) -> set[str]:
    """Names of the segment's constants and weights."""
    constants = {node.name for node in graph.graph_def.node if node.op == "Const"}
    return constants.intersection(segment.nodes).union(segment.weights)
