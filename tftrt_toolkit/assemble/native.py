"""A segment as a TensorFlow function: what runs where no engine does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import FrozenFunction, FrozenGraph, Rounding, Segment
from tftrt_toolkit.assemble.live import import_graph
from tftrt_toolkit.assemble.rounding import rounded_nodes
from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.functions import Draft, function_of_graph, functions_by_name, reachable_functions
from tftrt_toolkit.graph import is_control, node_of, tensor_of


def weight_arguments(graph: FrozenGraph, segment: Segment) -> tuple[str, ...]:
    """Arguments of the graph (captured tensors, variable handles) that the segment's weights read.

    A TRTEngineOp takes them behind the segment's inputs, handles last.
    """
    needed = {
        node_of(name) for weight in segment.weights for name in graph.weights[weight].reader.input
    }
    handles = {
        node.name
        for node in graph.graph_def.node
        if node.name in needed and node.attr["dtype"].type == tf.resource.as_datatype_enum
    }
    found = (argument for argument in graph.arguments if argument in needed)
    return tuple(sorted(found, key=handles.__contains__))


def native_function(
    graph: FrozenGraph,
    segment: Segment,
    name: str,
    library: Mapping[str, Any],
    rounding: Rounding | None = None,
) -> Any:
    """The segment as a FunctionDef `name`, of its inputs and then of its `weight_arguments`.

    rounding: where it rounds as its engine does; None: nowhere.
    """
    readers = {weight: graph.weights[weight].reader for weight in segment.weights}
    nodes = [readers.get(node.name, node) for node in _nodes_of(graph, segment)]
    moved: Mapping[str, str] = {}
    if rounding is not None:
        nodes, moved = rounded_nodes(nodes, rounding)
    extra = weight_arguments(graph, segment)
    draft, inner = _isolate(graph, segment, nodes, extra)
    draft.results = tuple(moved.get(result, result) for result in draft.results)
    function = function_of_graph(name, inner, draft, library)
    _describe_variables(function, graph, segment, extra)
    return function


def _describe_variables(
    function: Any, graph: FrozenGraph, segment: Segment, arguments: Sequence[str]
) -> None:
    """Say which shape each variable has behind its handle.

    TensorFlow optimizes by shapes. Without them it would group additions in another order than in
    the original, and round differently.
    """
    values = {
        node_of(weight.reader.input[0]): weight.value
        for weight in (graph.weights[name] for name in segment.weights)
        if weight.reader.op == "ReadVariableOp"
    }
    for index, argument in enumerate(arguments, len(segment.inputs)):
        if argument in values:
            value = values[argument]
            attributes = function.arg_attr[index].attr
            attributes["_output_shapes"].list.shape[0].CopyFrom(tf.TensorShape([]).as_proto())
            dtype = tf.as_dtype(value.dtype).as_datatype_enum
            attributes["_handle_dtypes"].list.type.append(dtype)
            shape = tf.TensorShape(value.shape).as_proto()
            attributes["_handle_shapes"].list.shape.append(shape)


def segment_function(
    frozen: FrozenFunction, segment: Segment
) -> Callable[[Sequence[np.ndarray]], tuple[np.ndarray, ...]]:
    """A callable that runs one segment by itself, in TensorFlow.

    It takes arrays in the order of `segment.inputs` and returns arrays in that of
    `segment.outputs`. The segment's large weights are copied for as long as the callable lives.
    """
    graph = _find_graph(frozen.graph, segment.graph)
    nodes = _nodes_of(graph, segment)
    draft, inner = _isolate(
        graph, segment, [node for node in nodes if node.name not in graph.weights], segment.weights
    )
    draft.graph_def.node.extend(inner)
    library = functions_by_name(graph.graph_def)
    draft.graph_def.library.function.extend(reachable_functions(inner, library).values())
    weights = [tf.constant(graph.weights[weight].value) for weight in segment.weights]
    function = import_graph(f"{segment.name}_alone", draft, {})

    def run(inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        tensors = [
            tf.constant(value, spec.dtype)
            for value, spec in zip(inputs, segment.inputs, strict=True)
        ]
        return tuple(result.numpy() for result in function(*tensors, *weights))

    return run


def _nodes_of(graph: FrozenGraph, segment: Segment) -> list[Any]:
    wanted = set(segment.nodes)
    nodes = [node for node in graph.graph_def.node if node.name in wanted]
    if len(nodes) != len(wanted):
        missing = sorted(wanted - {node.name for node in nodes})
        raise InternalError(f"segment {segment.name!r} names {missing[0]!r}, which isn't there")
    return nodes


def _isolate(
    graph: FrozenGraph, segment: Segment, nodes: Sequence[Any], extra: Sequence[str]
) -> tuple[Draft, list[Any]]:
    """Cut nodes off their graph: a Placeholder an input and an `extra` node, and the nodes' copies.

    Control edges from outside go: the engine node waits for what they wait for.
    """
    taken = {node.name for node in nodes}
    placeholders = tf.compat.v1.GraphDef()
    renamed: dict[str, str] = {}
    for spec in segment.inputs:
        name = _unused(f"input_{len(renamed)}", taken)
        placeholder = placeholders.node.add(name=name, op="Placeholder")
        placeholder.attr["dtype"].type = spec.dtype.as_datatype_enum
        placeholder.attr["shape"].shape.CopyFrom(spec.shape.as_proto())
        renamed[spec.name] = f"{name}:0"
    by_name = {node.name: node for node in graph.graph_def.node}
    for argument in extra:
        placeholder = placeholders.node.add()
        placeholder.CopyFrom(by_name[argument])
        placeholder.name = _unused(argument, taken)
        renamed[f"{argument}:0"] = f"{placeholder.name}:0"
    inside = {node.name for node in nodes}
    copies = []
    for node in nodes:
        copy = type(node)()
        copy.CopyFrom(node)
        copy.input[:] = _inner_inputs(node, inside, renamed)
        copies.append(copy)
    arguments = tuple(node.name for node in placeholders.node)
    results = tuple(renamed.get(spec.name, spec.name) for spec in segment.outputs)
    return Draft(placeholders, arguments, results, ()), copies


def _inner_inputs(node: Any, inside: set[str], renamed: Mapping[str, str]) -> Iterator[str]:
    for name in node.input:
        if not is_control(name):
            tensor = tensor_of(name)
            yield renamed.get(tensor, tensor)
        elif node_of(name) in inside:
            yield name


def _unused(wanted: str, taken: set[str]) -> str:
    name = wanted
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _find_graph(graph: FrozenGraph, name: str) -> FrozenGraph:
    waiting = [graph]
    for candidate in waiting:  # grows while it is walked
        if candidate.name == name:
            return candidate
        waiting.extend(candidate.bodies.values())
    raise InternalError(f"no graph {name!r} in {graph.name!r}")
