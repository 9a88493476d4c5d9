"""Takes variables out of a signature's arguments: its engines' resources keep them.

A function is handed every variable that it reads, at each call, and hands it on to the engine that
reads it: for a model of some hundred variables that takes longer than a small engine runs. But only
an engine's native function needs them. So the initializer has them kept for it once, when the model
is loaded, and the signature captures the engine's resource, for as long as which they are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tftrt_toolkit.assemble.saved_functions import (
    RESOURCE,
    Bound,
    SavedFunction,
    SavedFunctions,
    inputs_of,
)
from tftrt_toolkit.errors import InternalError, ModelError
from tftrt_toolkit.functions import VARIABLES_KEPT, argument_name
from tftrt_toolkit.saved_model import signature_objects

_ENGINE, _CREATE, _INITIALIZE, _HOLD, _KEEP = (
    "TRTEngineOp",
    "CreateTRTResourceHandle",
    "InitializeTRTResource",
    "HoldTRTEngineVariables",
    "KeepTRTEngineVariable",
)


@dataclasses.dataclass(frozen=True)
class _Resource:
    """An engine's resource, for either loader."""

    object_id: int
    tensor: str
    initializer: SavedFunction

    def keep(self, variables: Sequence[Bound], function: Any) -> None:
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

    def kept(self) -> list[Bound]:
        """The variables that the initializer has kept."""
        bound = {one.argument: one for one in self.initializer.captures()}
        nodes = [node for node in self.initializer.definition.node_def if node.op == _KEEP]
        nodes.sort(key=lambda node: node.attr["index"].i)
        return [bound[name] for node in nodes for name in node.input[:1] if name in bound]


def keep_variables(meta_graph: Any, keys: Iterable[str]) -> None:
    """Have the resources of these signatures' engines keep their variables, in place.

    Engines without a resource, and those inside of loops and branches, take theirs as they did.
    """
    functions = SavedFunctions(meta_graph)
    resources = _resources(meta_graph, functions)
    for key in keys:
        _keep_those_of(functions.of_signature(key), resources)


def return_variables(meta_graph: Any) -> None:
    """Undo `keep_variables` for all signatures, in place.

    Raises ModelError if an engine's variables aren't found, as where TensorFlow itself loaded the
    model and saved it again.
    """
    if not any(map(_is_kept, _nodes(meta_graph))):
        return
    functions = SavedFunctions(meta_graph)
    resources = _resources(meta_graph, functions)
    known = signature_objects(meta_graph.object_graph_def)
    for key in meta_graph.signature_def:
        if key in known:
            _return_to(functions.of_signature(key), resources)
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


def _keep_those_of(function: SavedFunction, resources: Mapping[str, _Resource]) -> None:
    """Have a function's engines do without its variables, and the function with them."""
    captured = {one.argument: one for one in function.captures()}
    taken = function.names()
    owners: list[Bound] = []
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
        owners.append(Bound(argument, resource.object_id, resource.tensor))
    function.drop_unused_captures()
    function.capture(owners)


def _return_to(function: SavedFunction, resources: Mapping[str, _Resource]) -> None:
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
        tensors, controls = inputs_of(node)
        node.input[:] = [*tensors, *(one.argument for one in variables), *controls]
        node.attr["InT"].list.type.extend([RESOURCE] * len(variables))
        del node.attr[VARIABLES_KEPT]
    function.drop_unused_captures()


def _handles(engine: Any) -> list[str]:
    """An engine's inputs that are handles, its last ones."""
    tensors, _ = inputs_of(engine)
    types = engine.attr["InT"].list.type
    handles = [name for name, dtype in zip(tensors, types, strict=True) if dtype == RESOURCE]
    if handles != tensors[len(tensors) - len(handles) :]:
        raise InternalError(f"engine {engine.name!r} takes a tensor behind its variables")
    return handles


def _resource_of(engine: Any) -> str:
    return engine.attr["segment_funcdef_name"].s.decode()


def _drop_handles(engine: Any, count: int) -> None:
    """Let an engine do without its last `count` inputs."""
    tensors, controls = inputs_of(engine)
    engine.input[:] = [*tensors[:-count], *controls]
    del engine.attr["InT"].list.type[-count:]


def _resources(meta_graph: Any, functions: SavedFunctions) -> dict[str, _Resource]:
    """The engines' resources by name."""
    tensors = {
        node.attr["resource_name"].s.decode(): f"{node.name}:0"
        for node in meta_graph.graph_def.node
        if node.op == _CREATE
    }
    found = {}
    for object_id, item in enumerate(meta_graph.object_graph_def.nodes):
        name = _resource_name(item, functions)
        if name in tensors:
            initializer = functions.of_method(item, "_initialize")
            found[name] = _Resource(object_id, tensors[name], initializer)
    return found


def _resource_name(item: Any, functions: SavedFunctions) -> str:
    """The name of an engine's resource; empty for an object that is none."""
    if not item.HasField("resource"):
        return ""
    nodes = functions.definition(item, "_create_resource").node_def
    names = (node.attr["resource_name"].s.decode() for node in nodes if node.op == _CREATE)
    return next(names, "")
