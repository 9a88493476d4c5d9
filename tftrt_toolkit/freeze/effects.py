"""What a graph does beside yielding results: which variables it assigns, which nodes must run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tftrt_toolkit.functions import (
    BODY_ATTRIBUTES,
    Draft,
    bodies_of,
    body_inputs,
    graph_of_function,
    output_types,
    signature_of,
)
from tftrt_toolkit.graph import data_inputs, node_of, topological

_READS = frozenset(
    ("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarIsInitializedOp")
)
# Ops that TensorFlow calls stateful although nobody notices if they don't run.
_HARMLESS = _READS | {
    "AnonymousHashTable",
    "HashTableV2",
    "LookupTableFindV2",
    "LookupTableSizeV2",
    "Placeholder",
    "VarHandleOp",
}


def assigned_arguments(draft: Draft, library: Mapping[str, Any]) -> set[str]:
    """Resource arguments that anything but a read takes, here or in a function called.

    A handle that a call returns counts as each handle that the call took.
    """
    resource = tf.resource.as_datatype_enum
    aliases: dict[str, set[str]] = {
        f"{node.name}:0": {node.name}
        for node in draft.graph_def.node
        if node.name in draft.arguments and node.attr["dtype"].type == resource
    }
    assigned: set[str] = set()
    for node in topological(draft.graph_def.node):
        taken = set().union(*(aliases.get(name, ()) for name in data_inputs(node)))
        if not taken or node.op in _READS:
            continue
        if node.op == "Identity" or node.op in BODY_ATTRIBUTES:
            for index, dtype in enumerate(output_types(node, library)):
                if dtype == resource:
                    aliases[f"{node.name}:{index}"] = taken
            assigned |= _assigned_by_bodies(node, aliases, library)
        else:
            assigned |= taken
    return assigned


def _assigned_by_bodies(
    node: Any, aliases: Mapping[str, set[str]], library: Mapping[str, Any]
) -> set[str]:
    found: set[str] = set()
    for body in bodies_of(node):
        draft = graph_of_function(library[body.name], library)
        inner = assigned_arguments(draft, library)
        for argument, tensor in zip(draft.arguments, body_inputs(node), strict=True):
            if argument in inner:
                found |= aliases.get(tensor, set())
    return found


def needed_effects(draft: Draft, library: Mapping[str, Any]) -> tuple[str, ...]:
    """The nodes with an effect among the control results and all that they wait for."""
    nodes = {node.name: node for node in draft.graph_def.node}
    waiting = list(draft.control_results)
    seen = set(waiting)
    while waiting:
        for name in nodes[waiting.pop()].input:
            if node_of(name) not in seen:
                seen.add(node_of(name))
                waiting.append(node_of(name))
    return tuple(
        node.name
        for node in draft.graph_def.node
        if node.name in seen and _has_effect(node, library, frozenset())
    )


def _has_effect(node: Any, library: Mapping[str, Any], callers: frozenset[str]) -> bool:
    if node.op in _HARMLESS or not signature_of(node, library).is_stateful:
        return False
    if node.op not in BODY_ATTRIBUTES:
        return True
    return any(
        body.name not in callers
        and any(
            _has_effect(inner, library, callers | {body.name})
            for inner in library[body.name].node_def
        )
        for body in bodies_of(node)
    )
