"""Takes objects out of a SavedObjectGraph, where each is known by its place in a list."""

from __future__ import annotations

from typing import Any

from tftrt_toolkit.compat.soundness import object_references
from tftrt_toolkit.protos import copied, keep_items


def function_names(node: Any) -> list[str]:
    """The library functions that a SavedObject stands for."""
    if node.HasField("function"):
        return list(node.function.concrete_functions)
    if node.HasField("bare_concrete_function"):
        return [node.bare_concrete_function.concrete_function_name]
    return []


def concrete_functions(objects: Any) -> set[str]:
    """All library functions that objects stand for."""
    return {name for node in objects.nodes for name in function_names(node)}


def remove_objects(objects: Any, doomed: set[int]) -> list[Any]:
    """Cut objects off, in place, with all that only they held; returns copies of what went."""
    if not doomed:
        return []
    before = _reachable(objects, set())
    after = _reachable(objects, doomed)
    kept = [index for index in range(len(objects.nodes)) if index in after or index not in before]
    places = {old: new for new, old in enumerate(kept)}
    removed = [copied(node) for index, node in enumerate(objects.nodes) if index not in places]
    remaining = [copied(objects.nodes[index]) for index in kept]
    gone = {name for node in removed for name in function_names(node)}
    gone -= {name for node in remaining for name in function_names(node)}
    for node in remaining:
        _renumber(node, places)
    del objects.nodes[:]
    objects.nodes.extend(remaining)
    for name in gone:
        objects.concrete_functions.pop(name, None)
    for function in objects.concrete_functions.values():
        function.bound_inputs[:] = [places[index] for index in function.bound_inputs]
    return removed


def _reachable(objects: Any, without: set[int]) -> set[int]:
    """Objects that the root holds, directly or through others, and not through `without`."""
    found, waiting = {0}, [0]
    while waiting:
        node = objects.nodes[waiting.pop()]
        bound = [
            index
            for name in function_names(node)
            if name in objects.concrete_functions
            for index in objects.concrete_functions[name].bound_inputs
        ]
        for index in (*object_references(node), *bound):
            if index not in found and index not in without:
                found.add(index)
                waiting.append(index)
    return found


def _renumber(node: Any, places: dict[int, int]) -> None:
    for references in (node.children, node.dependencies):
        keep_items(references, [i for i, one in enumerate(references) if one.node_id in places])
        for reference in references:
            reference.node_id = places[reference.node_id]
    for slot in node.slot_variables:
        slot.original_variable_node_id = places[slot.original_variable_node_id]
        slot.slot_variable_node_id = places[slot.slot_variable_node_id]
    for saveable in node.saveable_objects.values():
        saveable.save_function = places[saveable.save_function]
        saveable.restore_function = places[saveable.restore_function]
