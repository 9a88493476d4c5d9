"""A SavedModel's functions, as TF2's loader finds them and as TF1's does, to be edited for both."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tftrt_toolkit.assemble.signatures import child_of, signature_call, signature_object
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.functions import functions_by_name
from tftrt_toolkit.graph import is_control, node_of
from tftrt_toolkit.protos import copied, keep_items

RESOURCE = tf.resource.as_datatype_enum


@dataclasses.dataclass(frozen=True)
class Bound:
    """A function's captured argument: its name, and what is bound to it for either loader."""

    argument: str
    object_id: int
    tensor: str


@dataclasses.dataclass(frozen=True)
class SavedFunction:
    """A function as TF2's loader finds it, and the node that calls it for TF1's."""

    definition: Any  # FunctionDef
    saved: Any  # SavedConcreteFunction
    call: Any  # NodeDef

    def names(self) -> set[str]:
        """Of its arguments and nodes."""
        arguments = {argument.name for argument in self.definition.signature.input_arg}
        return arguments.union(node.name for node in self.definition.node_def)

    def captures(self) -> list[Bound]:
        """Captured arguments; they are the last."""
        bound = list(self.saved.bound_inputs)
        names = [argument.name for argument in self.definition.signature.input_arg]
        tensors, _ = inputs_of(self.call)
        first = len(names) - len(bound)
        if len(tensors) != len(names) or first < 0:
            name = self.definition.signature.name
            raise ModelError(f"the model is damaged: {name!r} takes other inputs than it is given")
        return list(map(Bound, names[first:], bound, tensors[first:]))

    def capture(self, added: Sequence[Bound]) -> None:
        """Capture more resources."""
        for one in added:
            self.definition.signature.input_arg.add(name=one.argument, type=RESOURCE)
            self.saved.bound_inputs.append(one.object_id)
            if "_input_shapes" in self.definition.attr:
                self.definition.attr["_input_shapes"].list.shape.add()  # a scalar's
        tensors, controls = inputs_of(self.call)
        self.call.input[:] = [*tensors, *(one.tensor for one in added), *controls]
        self.call.attr["Tin"].list.type.extend([RESOURCE] * len(added))

    def drop_unused_captures(self) -> None:
        """Forget captured arguments that nothing in the function takes."""
        used = {node_of(name) for node in self.definition.node_def for name in node.input}
        used.update(node_of(name) for name in self.definition.ret.values())
        arguments = list(self.definition.signature.input_arg)
        own = len(arguments) - len(self.saved.bound_inputs)
        kept = [i for i, item in enumerate(arguments) if i < own or item.name in used]
        bound = [self.saved.bound_inputs[i - own] for i in kept if i >= own]
        self.saved.bound_inputs[:] = bound
        _keep_arguments(self.definition, kept)
        _keep_inputs(self.call, kept)


class SavedFunctions:
    """The functions of a MetaGraphDef that has objects."""

    def __init__(self, meta_graph: Any) -> None:
        self._meta_graph = meta_graph
        self._objects = meta_graph.object_graph_def
        self._definitions = functions_by_name(meta_graph.graph_def)
        nodes = meta_graph.graph_def.node
        self._calls = {node.attr["f"].func.name: node for node in nodes if "f" in node.attr}

    def of_signature(self, key: str) -> SavedFunction:
        """A signature's function. Raises ModelError if no object stands for it."""
        name = signature_object(self._objects, key).concrete_function_name
        return self._saved(name, signature_call(self._meta_graph, key))

    def of_method(self, item: Any, method: str) -> SavedFunction:
        """The one function of an object's method, which the graph calls too."""
        name = self._name(item, method)
        if name not in self._calls:
            raise ModelError(f"the model is damaged: nothing calls an engine's {method}")
        return self._saved(name, self._calls[name])

    def definition(self, item: Any, method: str) -> Any:
        """The FunctionDef of an object's method, whether or not the graph calls it."""
        return self._definition(self._name(item, method))

    def _saved(self, name: str, call: Any) -> SavedFunction:
        return SavedFunction(self._definition(name), self._objects.concrete_functions[name], call)

    def _name(self, item: Any, method: str) -> str:
        found = child_of(self._objects, item, method)
        names = list(found.function.concrete_functions) if found else []
        if len(names) != 1:
            raise ModelError(f"the model is damaged: an engine's {method} isn't one function")
        return names[0]

    def _definition(self, name: str) -> Any:
        if name not in self._definitions:
            raise ModelError(f"the model is damaged: it has no function {name!r}")
        return self._definitions[name]


def inputs_of(node: Any) -> tuple[list[str], list[str]]:
    """A node's tensors, and its control inputs."""
    tensors = [name for name in node.input if not is_control(name)]
    return tensors, [name for name in node.input if is_control(name)]


def _keep_arguments(function: Any, kept: Sequence[int]) -> None:
    """Remove a FunctionDef's other arguments, with what is recorded of them by index."""
    recorded = {index: copied(attributes) for index, attributes in function.arg_attr.items()}
    function.arg_attr.clear()
    for new, old in enumerate(kept):
        if old in recorded:
            function.arg_attr[new].CopyFrom(recorded[old])
    keep_items(function.signature.input_arg, kept)
    if "_input_shapes" in function.attr:
        keep_items(function.attr["_input_shapes"].list.shape, kept)
    function.resource_arg_unique_id.clear()  # by index too, and optional


def _keep_inputs(call: Any, kept: Sequence[int]) -> None:
    tensors, controls = inputs_of(call)
    call.input[:] = [*(tensors[index] for index in kept), *controls]
    call.attr["Tin"].list.type[:] = [call.attr["Tin"].list.type[index] for index in kept]
    call.attr.pop("_read_only_resource_inputs", None)  # numbers inputs; no loader needs it
