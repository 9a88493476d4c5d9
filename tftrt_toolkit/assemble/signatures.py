"""Where a TF2 model has a signature: among its objects, its functions, and in its graph."""

from __future__ import annotations

from typing import Any

from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.graph import node_of
from tftrt_toolkit.saved_model import signature_objects


def signature_object(objects: Any, key: str) -> Any:
    """The SavedBareConcreteFunction of a signature. Raises ModelError if there is none."""
    found = signature_objects(objects).get(key)
    if found is None:
        raise ModelError(f"the model's objects have no signature {key!r}: export the model again")
    return objects.nodes[found].bare_concrete_function


def child_of(objects: Any, parent: Any, name: str) -> Any:
    """An object's child by its name; None if it has no such child."""
    matches = [child.node_id for child in parent.children if child.local_name == name]
    return objects.nodes[matches[0]] if matches else None


def signature_call(meta_graph: Any, key: str) -> Any:
    """The node in the graph that calls a signature's function."""
    outputs = {node_of(info.name) for info in meta_graph.signature_def[key].outputs.values()}
    calls = [node for node in meta_graph.graph_def.node if node.name in outputs]
    if len(calls) != 1 or "f" not in calls[0].attr:
        raise ModelError(
            f"signature {key!r} isn't one call in the model's graph: export the model again"
        )
    return calls[0]
