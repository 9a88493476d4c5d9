"""Variables that a signature assigns and another reads: in engines they would be constants."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tftrt_toolkit.freeze.effects import assigned_arguments
from tftrt_toolkit.functions import functions_by_name, graph_of_function, reachable_functions
from tftrt_toolkit.saved_model import listed, signature_objects

# To look closer only where there is something to find: nearly all models assign nothing.
_ASSIGNS = re.compile(r"Assign|Resource(Sparse)?Apply|ResourceScatter")


def stale_weights(meta_graph: Any, keys: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each signature that assigns what another one, of `keys`, only reads.

    Of a TF2 MetaGraphDef; others tell nothing, as their signatures share one graph.
    """
    objects = meta_graph.object_graph_def
    library = functions_by_name(meta_graph.graph_def)
    signatures = {}
    for key, index in sorted(signature_objects(objects).items()):
        name = objects.nodes[index].bare_concrete_function.concrete_function_name
        if name in objects.concrete_functions and name in library:  # a damaged model: loading tells
            signatures[key] = name
    assigned = {key: _assigned(objects, library, name) for key, name in signatures.items()}
    constants = {
        key: _bound(objects, signatures[key]) - assigned[key] for key in keys if key in signatures
    }
    found = []
    for key in signatures:
        stale = {one: assigned[key] & constants[one] for one in constants.keys() - {key}}
        names = {objects.nodes[index].variable.name for one in stale.values() for index in one}
        if names:
            found.append(
                f"signature {key!r} assigns {listed(names)}, of which the engines of "
                f"{listed(one for one in stale if stale[one])} hold the values as they are now: "
                "convert again after calling it"
            )
    return tuple(found)


def _bound(objects: Any, name: str) -> set[int]:
    """Numbers of the objects that a concrete function captures."""
    return set(objects.concrete_functions[name].bound_inputs)


def _assigned(objects: Any, library: Mapping[str, Any], name: str) -> set[int]:
    """Numbers of the objects that a concrete function assigns."""
    function = library[name]
    called = reachable_functions(function.node_def, library).values()
    if not any(_ASSIGNS.match(node.op) for one in (function, *called) for node in one.node_def):
        return set()
    draft = graph_of_function(function, library)
    assigned = assigned_arguments(draft, library)
    bound = objects.concrete_functions[name].bound_inputs
    captured = draft.arguments[len(draft.arguments) - len(bound) :]
    return {index for index, argument in zip(bound, captured, strict=True) if argument in assigned}
