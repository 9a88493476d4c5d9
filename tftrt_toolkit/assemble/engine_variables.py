"""Takes variables out of a signature's arguments: its engines' resources keep them.

A function is handed every variable that it reads, at each call, and hands it on to the engine that
reads it: for a model of some hundred variables that takes longer than a small engine runs. But only
an engine's native function needs them. So the initializer has them kept for it once, when the model
is loaded, and the signature captures the engine's resource, for as long as which they are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tftrt_toolkit.assemble.signatures import (
    child_of,
    find_signature_object,
    signature_call,
    signature_object,
)
from tftrt_toolkit.errors import InternalError, ModelError
from tftrt_toolkit.functions import VARIABLES_KEPT, argument_name
from tftrt_toolkit.graph import is_control, node_of

_ENGINE, _CREATE, _INITIALIZE, _HOLD, _KEEP = (
    "TRTEngineOp",
    "CreateTRTResourceHandle",
    "InitializeTRTResource",
    "HoldTRTEngineVariables",
    "KeepTRTEngineVariable",
)
_RESOURCE = tf.resource.as_datatype_enum


@dataclasses.dataclass(frozen=True)
class _Bound:
    """A function's captured argument: its name, and what is bound to it for either loader."""

    argument: str
    object_id: int
    tensor: str


@dataclasses.dataclass(frozen=True)
class _Function:
    """A function as TF2's loader finds it, and the node that calls it for TF1's."""

    definition: Any  # FunctionDef
    saved: Any  # SavedConcreteFunction
    call: Any  # NodeDef

    def names(self) -> set[str]:
        """Of its arguments and nodes."""
        arguments = {argument.name for argument in self.definition.signature.input_arg}
        return arguments.union(node.name for node in self.definition.node_def)

    def captures(self) -> list[_Bound]:
        """Captured arguments; they are the last."""
        bound = list(self.saved.bound_inputs)
        names = [argument.name for argument in self.definition.signature.input_arg]
        tensors, _ = _inputs(self.call)
        first = len(names) - len(bound)
        if len(tensors) != len(names) or first < 0:
            name = self.definition.signature.name
            raise ModelError(f"the model is damaged: {name!r} takes other inputs than it is given")
        return list(map(_Bound, names[first:], bound, tensors[first:]))

    def capture(self, added: Sequence[_Bound]) -> None:
        """Capture more resources."""
        for one in added:
            self.definition.signature.input_arg.add(name=one.argument, type=_RESOURCE)
            self.saved.bound_inputs.append(one.object_id)
            if "_input_shapes" in self.definition.attr:
                self.definition.attr["_input_shapes"].list.shape.add()  # a scalar's
        tensors, controls = _inputs(self.call)
        self.call.input[:] = [*tensors, *(one.tensor for one in added), *controls]
        self.call.attr["Tin"].list.type.extend([_RESOURCE] * len(added))

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


@dataclasses.dataclass(frozen=True)
class _Resource:
    """An engine's resource, for either loader."""

    object_id: int
    tensor: str
    initializer: _Function

    def keep(self, variables: Sequence[_Bound], function: Any) -> None:
        """Have the initializer keep these variables for a native function (a NameAttrList)."""
        definition = self.initializer.definition
        added = [
            dataclasses.replace(one, argument=f"variable_{index}")
            for index, one in enumerate(variables)
        ]
        handles = [node.input[0] for node in definition.node_def if node.op == _INITIALIZE]
        definition.node_def.add(name="hold", op=_HOLD, input=handles)
        for index, one in enumerate(added):
            inputs = [one.argument, "^hold"]
            node = definition.node_def.add(name=f"keep_{index}", op=_KEEP, input=inputs)
            node.attr["index"].i, node.attr["count"].i = index, len(added)
        for node in definition.node_def:
            if node.op in (_HOLD, _KEEP):
                node.attr["segment_func"].func.CopyFrom(function)
                definition.signature.control_output.append(node.name)
                definition.control_ret[node.name] = node.name
        self.initializer.capture(added)

    def function(self) -> Any:
        """The native function (a NameAttrList) for which variables are kept."""
        nodes = self.initializer.definition.node_def
        return next(node.attr["segment_func"].func for node in nodes if node.op == _HOLD)

    def kept(self) -> list[_Bound]:
        """The variables that the initializer has kept."""
        bound = {one.argument: one for one in self.initializer.captures()}
        nodes = [node for node in self.initializer.definition.node_def if node.op == _KEEP]
        nodes.sort(key=lambda node: node.attr["index"].i)
        return [bound[name] for node in nodes for name in node.input[:1] if name in bound]


def keep_variables(meta_graph: Any, key: str) -> None:
    """Have the resources of signature `key`'s engines keep its variables, in place.

    Engines without a resource, and those inside of loops and branches, take theirs as they did.
    """
    resources = _resources(meta_graph)
    function = _function(meta_graph, signature_object(meta_graph.object_graph_def, key), key)
    captured = {one.argument: one for one in function.captures()}
    taken = function.names()
    owners: list[_Bound] = []
    for node in function.definition.node_def:
        resource = resources.get(_resource_of(node)) if node.op == _ENGINE else None
        if resource is None:
            continue
        if not _is_kept(node):
            handles = _handles(node)
            if not handles or not captured.keys() >= set(handles):
                continue
            resource.keep([captured[name] for name in handles], node.attr["segment_func"].func)
            _drop_handles(node, len(handles))
        # An earlier conversion's engine has the name here that the loader gave the function.
        node.attr[VARIABLES_KEPT].func.CopyFrom(resource.function())
        argument = argument_name(f"engine_{len(owners)}", taken)
        owners.append(_Bound(argument, resource.object_id, resource.tensor))
    function.drop_unused_captures()
    function.capture(owners)


def return_variables(meta_graph: Any) -> None:
    """Undo `keep_variables` for all signatures, in place.

    Raises ModelError if an engine's variables aren't found, as where TensorFlow itself loaded the
    model and saved it again.
    """
    if not any(map(_is_kept, _nodes(meta_graph))):
        return
    resources = _resources(meta_graph)
    for key in meta_graph.signature_def:
        bare = find_signature_object(meta_graph.object_graph_def, key)
        if bare is not None:
            _return_to(_function(meta_graph, bare, key), resources)
    for node in filter(_is_kept, _nodes(meta_graph)):
        raise ModelError(
            f"the variables of engine {node.name!r} aren't found: use the directory that the "
            "converter wrote, not one that was loaded and saved again"
        )


def _nodes(meta_graph: Any) -> Iterator[Any]:
    for definition in meta_graph.graph_def.library.function:
        yield from definition.node_def


def _is_kept(node: Any) -> bool:
    """Whether a node is an engine whose variables are kept for it."""
    return node.op == _ENGINE and VARIABLES_KEPT in node.attr


def _return_to(function: _Function, resources: Mapping[str, _Resource]) -> None:
    """Hand a function's engines their variables again."""
    taken = function.names()
    for node in function.definition.node_def:
        resource = resources.get(_resource_of(node)) if _is_kept(node) else None
        if resource is None:
            continue
        variables = [
            dataclasses.replace(one, argument=argument_name("variable", taken))
            for one in resource.kept()
        ]
        function.capture(variables)
        tensors, controls = _inputs(node)
        node.input[:] = [*tensors, *(one.argument for one in variables), *controls]
        node.attr["InT"].list.type.extend([_RESOURCE] * len(variables))
        del node.attr[VARIABLES_KEPT]
    function.drop_unused_captures()


def _inputs(node: Any) -> tuple[list[str], list[str]]:
    """A node's tensors, and its control inputs."""
    tensors = [name for name in node.input if not is_control(name)]
    return tensors, [name for name in node.input if is_control(name)]


def _handles(engine: Any) -> list[str]:
    """An engine's inputs that are handles, its last ones."""
    tensors, _ = _inputs(engine)
    types = engine.attr["InT"].list.type
    handles = [name for name, dtype in zip(tensors, types, strict=True) if dtype == _RESOURCE]
    if handles != tensors[len(tensors) - len(handles) :]:
        raise InternalError(f"engine {engine.name!r} takes a tensor behind its variables")
    return handles


def _resource_of(engine: Any) -> str:
    return engine.attr["segment_funcdef_name"].s.decode()


def _drop_handles(engine: Any, count: int) -> None:
    """Let an engine do without its last `count` inputs."""
    tensors, controls = _inputs(engine)
    engine.input[:] = [*tensors[:-count], *controls]
    del engine.attr["InT"].list.type[-count:]


def _function(meta_graph: Any, bare: Any, key: str) -> _Function:
    """The function of a signature."""
    name = bare.concrete_function_name
    objects = meta_graph.object_graph_def
    call = signature_call(meta_graph, key)
    return _Function(_definition(meta_graph, name), objects.concrete_functions[name], call)


def _definition(meta_graph: Any, name: str) -> Any:
    library = meta_graph.graph_def.library.function
    for function in library:
        if function.signature.name == name:
            return function
    raise ModelError(f"the model is damaged: it has no function {name!r}")


def _resources(meta_graph: Any) -> dict[str, _Resource]:
    """The engines' resources by name."""
    objects, graph = meta_graph.object_graph_def, meta_graph.graph_def
    tensors = {
        node.attr["resource_name"].s.decode(): f"{node.name}:0"
        for node in graph.node
        if node.op == _CREATE
    }
    calls = {node.attr["f"].func.name: node for node in graph.node if "f" in node.attr}
    found = {}
    for object_id, item in enumerate(objects.nodes):
        name = _resource_name(meta_graph, item)
        if name not in tensors:
            continue
        initializer = _traced(objects, item, "_initialize")
        if initializer not in calls:
            raise ModelError(f"the model is damaged: nothing initializes {name!r}")
        function = _Function(
            _definition(meta_graph, initializer),
            objects.concrete_functions[initializer],
            calls[initializer],
        )
        found[name] = _Resource(object_id, tensors[name], function)
    return found


def _resource_name(meta_graph: Any, item: Any) -> str:
    """The name of an engine's resource; empty for an object that is none."""
    if not item.HasField("resource"):
        return ""
    creator = _traced(meta_graph.object_graph_def, item, "_create_resource")
    nodes = _definition(meta_graph, creator).node_def
    names = (node.attr["resource_name"].s.decode() for node in nodes if node.op == _CREATE)
    return next(names, "")


def _traced(objects: Any, item: Any, method: str) -> str:
    """The name of the one concrete function of an object's method."""
    found = child_of(objects, item, method)
    names = list(found.function.concrete_functions) if found else []
    if len(names) != 1:
        raise ModelError(f"the model is damaged: an engine's {method} isn't one function")
    return names[0]


def _keep_arguments(function: Any, kept: Sequence[int]) -> None:
    """Remove a FunctionDef's other arguments, with what is recorded of them by index."""
    recorded = {index: _copy(attributes) for index, attributes in function.arg_attr.items()}
    function.arg_attr.clear()
    for new, old in enumerate(kept):
        if old in recorded:
            function.arg_attr[new].CopyFrom(recorded[old])
    _keep_items(function.signature.input_arg, kept)
    if "_input_shapes" in function.attr:
        _keep_items(function.attr["_input_shapes"].list.shape, kept)
    function.resource_arg_unique_id.clear()  # by index too, and optional


def _copy(proto: Any) -> Any:
    copy = type(proto)()
    copy.CopyFrom(proto)
    return copy


def _keep_inputs(call: Any, kept: Sequence[int]) -> None:
    tensors, controls = _inputs(call)
    call.input[:] = [*(tensors[index] for index in kept), *controls]
    call.attr["Tin"].list.type[:] = [call.attr["Tin"].list.type[index] for index in kept]
    call.attr.pop("_read_only_resource_inputs", None)  # numbers inputs; no loader needs it


def _keep_items(repeated: Any, kept: Sequence[int]) -> None:
    """Remove all other messages of a repeated field."""
    chosen = set(kept)
    for index in reversed(range(len(repeated))):
        if index not in chosen:
            del repeated[index]
