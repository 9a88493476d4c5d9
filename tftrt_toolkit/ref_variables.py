"""TF1's reference variables become resource variables, which TF2 can load, capture and freeze.

TF2's loader keeps reference variables inside of each function's graph, where their values can't be
read and no engine can take them as weights. The checkpoint stays as it is.

    VariableV2 v, Assign(v, x), Identity(v)  ->  VarHandleOp v, AssignVariableOp(v, x),
                                                 ReadVariableOp(v)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import variable_pb2
from tensorflow.python.framework import op_def_registry

from tftrt_toolkit.graph import is_control, node_of

_VARIABLES = ("VariableV2", "Variable")
# Ops that take a reference, and what takes a handle in their place.
_REPLACEMENTS = {
    "Assign": "AssignVariableOp",
    "AssignAdd": "AssignAddVariableOp",
    "AssignSub": "AssignSubVariableOp",
    "IsVariableInitialized": "VarIsInitializedOp",
}
_COLLECTIONS = (
    "variables",
    "trainable_variables",
    "model_variables",
    "local_variables",
    "moving_average_variables",
)


def upgrade_variables(meta_graph: Any) -> set[str]:
    """Make resource variables of the reference variables of a MetaGraphDef, in place.

    A variable stays as it is if an op takes it that has no counterpart for resource variables.
    Returns the names of those upgraded.
    """
    nodes = meta_graph.graph_def.node
    if not any(node.op in _VARIABLES for node in nodes):
        return set()
    variables = {node.name: node for node in nodes if node.op in _VARIABLES}
    assignments: dict[str, str] = {}
    for node in nodes:
        for name in _references(node):
            source = node_of(name)
            if node.op not in _REPLACEMENTS:
                variables.pop(assignments.get(source, source), None)
            elif node.op != "IsVariableInitialized":
                assignments[node.name] = assignments.get(source, source)
    assignments = {name: source for name, source in assignments.items() if source in variables}
    # Reads of what an assignment yields come behind it, all others whenever they like.
    reads = {name: f"{name}/Read/ReadVariableOp" for name in (*variables, *assignments)}
    read_by: set[str] = set()
    for node in nodes:
        read_by |= _upgrade_user(node, variables, assignments, reads)
    for name, variable in variables.items():
        _upgrade_variable(variable, name)
    for name in sorted(read_by | variables.keys()):
        _add_read(nodes, reads[name], variables[assignments.get(name, name)], name)
    _upgrade_collections(meta_graph, variables.keys())
    return set(variables)


def _references(node: Any) -> Iterator[str]:
    """Inputs that a node takes by reference."""
    signature = op_def_registry.get(node.op)
    if signature is None:
        return
    inputs = [name for name in node.input if not is_control(name)]
    position = 0
    for argument in signature.input_arg:
        count = node.attr[argument.number_attr].i if argument.number_attr else 1
        if argument.type_list_attr:
            count = len(node.attr[argument.type_list_attr].list.type)
        if argument.is_ref:
            yield from inputs[position : position + count]
        position += count


def _upgrade_user(
    node: Any, variables: dict[str, Any], assignments: dict[str, str], reads: dict[str, str]
) -> set[str]:
    """Let a node take handles where it took references, and values where it took values.

    Returns the variables and assignments that it reads through a read of its own.
    """
    sources = {node_of(name) for name in node.input if not is_control(name)} & reads.keys()
    if not sources:
        return set()
    first = node_of(node.input[0])
    dtype = variables[assignments.get(first, first)].attr["dtype"].type if first in reads else 0
    if node.op in _REPLACEMENTS and first in reads:
        node.op = _REPLACEMENTS[node.op]
        node.input[0] = assignments.get(first, first)
        if first in assignments:
            node.input.append(f"^{first}")
        for name in ("T", "use_locking", "validate_shape"):
            node.attr.pop(name, None)
        if node.op != "VarIsInitializedOp":
            node.attr["dtype"].type = dtype
        sources.discard(first)
    elif node.op == "Identity" and first in variables:
        node.op = "ReadVariableOp"
        node.attr.pop("T", None)
        node.attr["dtype"].type = dtype
        return set()
    start = 1 if node.op in _REPLACEMENTS.values() else 0
    for index in range(start, len(node.input)):
        if not is_control(node.input[index]) and node_of(node.input[index]) in sources:
            node.input[index] = reads[node_of(node.input[index])]
    return sources


def _upgrade_variable(node: Any, name: str) -> None:
    shared_name = node.attr["shared_name"].s or name.encode()
    node.op = "VarHandleOp"
    node.attr["shared_name"].s = shared_name
    node.attr.pop("_output_shapes", None)


def _add_read(nodes: Any, name: str, variable: Any, after: str) -> None:
    read = nodes.add(name=name, op="ReadVariableOp", input=[variable.name], device=variable.device)
    read.attr["dtype"].type = variable.attr["dtype"].type
    if after != variable.name:
        read.input.append(f"^{after}")
    shape = tf.TensorShape(variable.attr["shape"].shape)
    read.attr["_output_shapes"].list.shape.add().CopyFrom(shape.as_proto())


def _upgrade_collections(meta_graph: Any, upgraded: Any) -> None:
    """Say in the collections of variables that these are resource variables now."""
    for collection in _COLLECTIONS:
        if collection not in meta_graph.collection_def:
            continue
        values = meta_graph.collection_def[collection].bytes_list.value
        for index, value in enumerate(values):
            variable = variable_pb2.VariableDef.FromString(value)
            if node_of(variable.variable_name) in upgraded:
                variable.is_resource = True
                values[index] = variable.SerializeToString()
