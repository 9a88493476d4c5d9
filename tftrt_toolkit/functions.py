"""Function bodies as graphs and back.

A FunctionDef names outputs by op argument and index in it, a GraphDef by one running index.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import function_pb2, op_def_pb2
from tensorflow.python.framework import op_def_registry

from tftrt_toolkit.errors import InternalError, ModelError
from tftrt_toolkit.graph import is_control, node_of, tensor_of

# Attributes that hold the functions that a node calls, by op type.
BODY_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "While": ("cond", "body"),
    "StatelessWhile": ("cond", "body"),
    "If": ("then_branch", "else_branch"),
    "StatelessIf": ("then_branch", "else_branch"),
    "Case": ("branches",),
    "StatelessCase": ("branches",),
    "PartitionedCall": ("f",),
    "StatefulPartitionedCall": ("f",),
}
# On an engine, the function under whose name its variables are kept; it isn't called through this.
VARIABLES_KEPT = "_variables_kept"


@dataclasses.dataclass
class Draft:
    """A function's graph while it is worked on: every argument is a Placeholder node."""

    graph_def: Any  # tf.compat.v1.GraphDef
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    control_results: tuple[str, ...]


def functions_by_name(graph_def: Any) -> dict[str, Any]:
    """The FunctionDefs of a GraphDef's library, to read or to edit."""
    return {function.signature.name: function for function in graph_def.library.function}


def called_functions(node: Any) -> Iterator[Any]:
    """NameAttrLists of the functions that a NodeDef names in its attributes, to read or to edit."""
    for name, value in node.attr.items():
        if name == VARIABLES_KEPT:
            continue
        kind = value.WhichOneof("value")
        if kind == "func":
            yield value.func
        elif kind == "list":
            yield from value.list.func


def bodies_of(node: Any) -> list[Any]:
    """NameAttrLists of the functions that run when a control-flow or call node runs."""
    found: list[Any] = []
    for name in BODY_ATTRIBUTES.get(node.op, ()):
        value = node.attr[name]
        found.extend([value.func] if value.WhichOneof("value") == "func" else value.list.func)
    return found


def body_inputs(node: Any) -> list[str]:
    """Tensors that a control-flow or call node hands to its bodies, in their arguments' order.

    If and Case keep their first input, the predicate or the branch index, to themselves.
    """
    inputs = [tensor_of(name) for name in node.input if not is_control(name)]
    return inputs[1:] if node.op in ("If", "StatelessIf", "Case", "StatelessCase") else inputs


def reachable_functions(nodes: Iterable[Any], library: Mapping[str, Any]) -> dict[str, Any]:
    """The functions of `library` that `nodes` call, directly or through others."""
    found: dict[str, Any] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        names = [function.name for function in called_functions(node)]
        for name in [*names, node.op]:
            if name in library and name not in found:
                found[name] = library[name]
                waiting.extend(library[name].node_def)
    return found


def opaque_functions(nodes: Iterable[Any], library: Mapping[str, Any]) -> dict[str, Any]:
    """Functions that some node calls otherwise than as a body, and all that those call."""
    everything = list(nodes)
    for function in reachable_functions(everything, library).values():
        everything.extend(function.node_def)
    callers = [node for node in everything if node.op not in BODY_ATTRIBUTES]
    return reachable_functions(callers, library)


def signature_of(node: Any, library: Mapping[str, Any]) -> Any:
    """The OpDef of a node: of its op, or of the function that it calls by its op's name."""
    signature = op_def_registry.get(node.op)
    if signature is None and node.op in library:
        signature = library[node.op].signature
    if signature is None:
        raise ModelError(
            f"op {node.op!r} of node {node.name!r} isn't registered: import the module that brings "
            "it before the model is loaded"
        )
    return signature


def output_count(argument: Any, node: Any) -> int:
    """How many tensors one output argument of a node's OpDef stands for."""
    if argument.number_attr:
        return node.attr[argument.number_attr].i
    if argument.type_list_attr:
        return len(node.attr[argument.type_list_attr].list.type)
    return 1


def output_names(node: Any, library: Mapping[str, Any]) -> list[str]:
    """FunctionDef names (`node:argument:index`) of a node's outputs, by their running index."""
    return [
        f"{node.name}:{argument.name}:{index}"
        for argument in signature_of(node, library).output_arg
        for index in range(output_count(argument, node))
    ]


def graph_of_function(function: Any, library: Mapping[str, Any]) -> Draft:
    """A FunctionDef as a graph whose arguments are Placeholders; `library` goes along by reference.

    An argument's shape is the one the FunctionDef records, or unknown.
    """
    graph_def = tf.compat.v1.GraphDef()
    graph_def.versions.producer = tf.version.GRAPH_DEF_VERSION
    flat = {}
    for index, argument in enumerate(function.signature.input_arg):
        node = graph_def.node.add(name=argument.name, op="Placeholder")
        node.attr["dtype"].type = argument.type
        shape = _argument_shape(function, index)
        node.attr["shape"].shape.CopyFrom(shape.as_proto())
        flat[argument.name] = argument.name
    for node in function.node_def:
        for index, name in enumerate(output_names(node, library)):
            # Grappler makes `^node:0` of an input `node:0`, and then finds no such node.
            flat[name] = f"{node.name}:{index}" if index else node.name
    for node in function.node_def:
        copy = graph_def.node.add()
        copy.CopyFrom(node)
        copy.input[:] = [name if is_control(name) else flat[name] for name in node.input]
    return Draft(
        graph_def,
        tuple(argument.name for argument in function.signature.input_arg),
        tuple(
            tensor_of(flat[function.ret[result.name]]) for result in function.signature.output_arg
        ),
        tuple(function.control_ret.values()),
    )


def _argument_shape(function: Any, index: int) -> tf.TensorShape:
    """The shape that a FunctionDef records for one argument, unknown if it records none."""
    if function.signature.input_arg[index].type == tf.resource.as_datatype_enum:
        return tf.TensorShape([])
    value = function.arg_attr[index].attr.get("_output_shapes") if function.arg_attr else None
    if value is not None:
        return tf.TensorShape(value.list.shape[0] if value.list.shape else value.shape)
    shapes = function.attr.get("_input_shapes")
    if shapes is not None and index < len(shapes.list.shape):
        return tf.TensorShape(shapes.list.shape[index])
    return tf.TensorShape(None)


def function_of_graph(
    name: str,
    nodes: Sequence[Any],
    draft: Draft,
    library: Mapping[str, Any],
    signature: Any = None,
) -> Any:
    """A FunctionDef of `nodes` (without the argument Placeholders) under `name`.

    Arguments and results are `draft`'s; their dtypes are those of the Placeholders in its graph and
    of `signature` where one is given, else of the nodes that yield them. `signature` (an OpDef)
    lends argument and result names, so that a rewritten body keeps its interface.
    """
    function = function_pb2.FunctionDef()
    placeholders = {node.name: node for node in draft.graph_def.node}
    taken = {node.name for node in nodes}
    nested = {}
    for index, argument in enumerate(draft.arguments):
        placeholder = placeholders[argument]
        wanted = signature.input_arg[index].name if signature else argument
        unique = argument_name(wanted, taken)
        function.signature.input_arg.add(name=unique, type=placeholder.attr["dtype"].type)
        if signature:
            for data in signature.input_arg[index].handle_data:
                function.signature.input_arg[index].handle_data.add().CopyFrom(data)
        shapes = function.arg_attr[index].attr["_output_shapes"].list.shape
        shapes.add().CopyFrom(placeholder.attr["shape"].shape)
        nested[f"{argument}:0"] = unique
    types = {}
    for node in nodes:
        for index, (nested_name, dtype) in enumerate(
            zip(output_names(node, library), output_types(node, library), strict=True)
        ):
            nested[f"{node.name}:{index}"] = nested_name
            types[f"{node.name}:{index}"] = dtype
    for argument in draft.arguments:
        types[f"{argument}:0"] = placeholders[argument].attr["dtype"].type
    renamed = {f"{name}:0": nested[f"{name}:0"] for name in draft.arguments}
    for node in nodes:
        copy = function.node_def.add()
        copy.CopyFrom(node)
        copy.input[:] = _nested_inputs(node, nested, renamed)
    results: set[str] = set()
    for index, result in enumerate(draft.results):
        wanted = signature.output_arg[index].name if signature else node_of(result)
        unique = argument_name(wanted, results)
        function.signature.output_arg.add(name=unique, type=types[result])
        function.ret[unique] = nested[result]
    for node_name in draft.control_results:
        unique = argument_name(node_name, results)
        function.signature.control_output.append(unique)
        function.control_ret[unique] = node_name
    function.signature.name = name
    function.signature.is_stateful = any(signature_of(node, library).is_stateful for node in nodes)
    return function


def _nested_inputs(node: Any, nested: Mapping[str, str], arguments: Mapping[str, str]) -> list[str]:
    """Inputs of a node in a FunctionDef's naming."""
    inputs = []
    for name in node.input:
        if is_control(name):
            inputs.append("^" + arguments.get(f"{node_of(name)}:0", node_of(name)))
        elif tensor_of(name) in nested:
            inputs.append(nested[tensor_of(name)])
        else:
            raise InternalError(f"node {node.name!r} takes {name!r}, which its graph doesn't have")
    return inputs


def output_types(node: Any, library: Mapping[str, Any]) -> list[int]:
    """DataType numbers of a node's outputs, in the order of their index."""
    types: list[int] = []
    signature = signature_of(node, library)
    for argument in signature.output_arg:
        if argument.type_list_attr:
            types.extend(node.attr[argument.type_list_attr].list.type)
            continue
        dtype = argument.type
        if argument.type_attr:
            dtype = _attribute(node, signature, argument.type_attr).type
        types.extend([dtype] * output_count(argument, node))
    return types


def _attribute(node: Any, signature: op_def_pb2.OpDef, name: str) -> Any:
    """A node's attribute, or the default that its OpDef has for it."""
    if name in node.attr:
        return node.attr[name]
    return next(attr.default_value for attr in signature.attr if attr.name == name)


def argument_name(wanted: str, taken: set[str]) -> str:
    """`wanted` as an argument name that FunctionDef allows and that isn't taken yet; marks it."""
    base = re.sub(r"[^a-z0-9_]", "_", wanted.lower())
    base = base if base[:1].isalpha() else f"arg_{base}"
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    taken.add(name)
    return name
