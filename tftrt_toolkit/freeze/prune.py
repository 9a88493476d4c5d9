"""Takes out of a SavedModel what the signatures to convert don't need, so that it loads sooner.

TensorFlow's loader builds a graph of each function, those that save and restore checkpoints too,
and creates and reads each variable; Keras exports every variable twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any

from tftrt_toolkit.functions import called_functions
from tftrt_toolkit.protos import keep_items
from tftrt_toolkit.saved_model import signature_objects

# A captured tensor is one of a function's graph, which a gradient takes.
_FUNCTIONS = {"function", "bare_concrete_function", "captured_tensor"}
_GRADIENT = "_gradient_op_type"


@dataclasses.dataclass(frozen=True)
class Pruned:
    """How many functions and variables were taken out."""

    functions: int = 0
    variables: int = 0


def keep_signatures(meta_graph: Any, keys: Sequence[str]) -> Pruned:
    """Edit a TF2 MetaGraphDef, in place, to hold what these signatures need.

    Objects keep their numbers and their paths from the root, by which a checkpoint finds them: one
    that goes becomes an empty object that nothing refers to. Nothing changes where the model lacks
    one of the signatures. Variables stay if the signatures need none: the loader refuses a model
    for which a checkpoint has nothing at all.
    """
    objects = meta_graph.object_graph_def
    signatures = signature_objects(objects)
    if not signatures.keys() >= set(keys):
        return Pruned()
    wanted = [signatures[key] for key in keys]
    library = _Library(meta_graph.graph_def.library)
    needed = _needed(objects, library, [*wanted, *_stateful(objects)])
    variables = set(_of_kind(objects, {"variable"}))
    dropped = set(_of_kind(objects, _FUNCTIONS)) - needed
    if variables & needed:
        dropped |= variables - needed
    _drop_objects(objects, dropped)
    kept = library.reachable(_function_names(objects.nodes))
    for name in [name for name in objects.concrete_functions if name not in kept]:
        del objects.concrete_functions[name]
    return Pruned(library.keep(kept), len(variables & dropped))


class _Library:
    """A FunctionDefLibrary: who calls whom."""

    def __init__(self, proto: Any) -> None:
        self._proto = proto
        self._functions = {function.signature.name: function for function in proto.function}
        self._gradients = {
            item.registered_op_type.encode(): item.gradient_func
            for item in proto.registered_gradients
        }

    def reachable(self, names: Iterable[str]) -> set[str]:
        """These functions, and all that they call or that are gradients in them."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self._functions and name not in found:
                found.add(name)
                for node in self._functions[name].node_def:
                    waiting.extend(self._named(node))
        return found

    def keep(self, names: set[str]) -> int:
        """Remove all other functions; returns how many there were."""
        kept = [item for name, item in self._functions.items() if name in names]
        gradients = [
            item for item in self._proto.registered_gradients if item.gradient_func in names
        ]
        removed = len(self._functions) - len(kept)
        if removed:
            smaller = type(self._proto)(function=kept, registered_gradients=gradients)
            self._proto.CopyFrom(smaller)
        return removed

    def _named(self, node: Any) -> Iterator[str]:
        yield node.op
        yield from (called.name for called in called_functions(node))
        if _GRADIENT in node.attr:
            yield self._gradients.get(node.attr[_GRADIENT].s, "")


def _of_kind(objects: Any, kinds: Set[str]) -> Iterator[int]:
    for index, node in enumerate(objects.nodes):
        if node.WhichOneof("kind") in kinds:
            yield index


def _stateful(objects: Any) -> Iterator[int]:
    """Tables, assets, constants and other objects of a state, which their functions may restore.

    They stay, and all they need; what merely holds others needs none of them.
    """
    bare = {"variable", "user_object", *_FUNCTIONS}
    for index, node in enumerate(objects.nodes):
        restored = node.HasField("user_object") and (node.saveable_objects or node.registered_saver)
        if restored or node.WhichOneof("kind") not in bare:
            yield index


def _needed(objects: Any, library: _Library, start: Iterable[int]) -> set[int]:
    """These objects and all that they refer to."""
    # An optimizer makes its slot variables: to be one's, it takes the variable that it is of.
    slots = {
        slot.slot_variable_node_id: (index, slot.original_variable_node_id)
        for index, node in enumerate(objects.nodes)
        for slot in node.slot_variables
    }
    found: set[int] = set()
    waiting = list(start)
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            node = objects.nodes[index]
            waiting += [one.node_id for one in (*node.children, *node.dependencies)]
            waiting += slots.get(index, ())
            for saveable in node.saveable_objects.values():
                waiting += [saveable.save_function, saveable.restore_function]
            for name in library.reachable(_function_names([node])):
                if name in objects.concrete_functions:
                    waiting += objects.concrete_functions[name].bound_inputs
    return found


def _function_names(nodes: Iterable[Any]) -> Iterator[str]:
    for node in nodes:
        if node.HasField("bare_concrete_function"):
            yield node.bare_concrete_function.concrete_function_name
        if node.HasField("captured_tensor"):
            yield node.captured_tensor.concrete_function
        yield from node.function.concrete_functions


def _drop_objects(objects: Any, dropped: set[int]) -> None:
    for index, node in enumerate(objects.nodes):
        if index in dropped:
            node.Clear()
            node.user_object.identifier = "_generic_user_object"
        for references in (node.children, node.dependencies):
            keep_items(
                references, [i for i, one in enumerate(references) if one.node_id not in dropped]
            )
        slots = enumerate(node.slot_variables)
        kept = [i for i, one in slots if one.slot_variable_node_id not in dropped]
        keep_items(node.slot_variables, kept)
