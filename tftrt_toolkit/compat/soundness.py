"""Checks on a MetaGraphDef from outside, before anything is built from it.

TensorFlow's loader checks some of this, late and in other words, and dies of some of the rest.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tensorflow.python.framework import op_def_registry

from tftrt_toolkit.compat.engine_nodes import OP, callees
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.functions import functions_by_name
from tftrt_toolkit.graph import node_of

_RESERVED = {"", ".", ".."}
# Edges out of these close the loops of TensorFlow 1's control flow: such cycles are sound.
_LOOP_OPS = {"NextIteration", "RefNextIteration"}


def check_meta_graph(meta_graph: Any) -> None:
    """Raise ModelError if the graph, its functions, its objects or its assets make no sense."""
    functions = meta_graph.graph_def.library.function
    library = functions_by_name(meta_graph.graph_def)
    _check_unique((function.signature.name for function in functions), "functions")
    _check_graph("the graph", meta_graph.graph_def.node, ())
    for name, function in library.items():
        arguments = [argument.name for argument in function.signature.input_arg]
        _check_graph(f"function {name!r}", function.node_def, arguments)
        _check_results(name, function, arguments)
    _check_acyclic(
        {name: calls_of(function.node_def, library) for name, function in library.items()},
        lambda name: f"function {name!r} calls itself, through others perhaps",
    )
    _check_assets(meta_graph.asset_file_def)
    _check_objects(meta_graph.object_graph_def, len(meta_graph.asset_file_def))


def calls_of(nodes: Iterable[Any], library: Mapping[str, Any]) -> list[str]:
    """The library's functions that nodes call, each once."""
    return list(dict.fromkeys(name for node in nodes for name in callees(node, library)))


def _check_unique(names: Iterable[str], what: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ModelError(f"the model is damaged: two {what} are called {repeated[0]!r}")


def _check_graph(where: str, nodes: Sequence[Any], arguments: Sequence[str]) -> None:
    _check_unique([*arguments, *(node.name for node in nodes)], f"nodes of {where}")
    known = {node.name for node in nodes} | set(arguments)
    for node in nodes:
        if not node.name or not node.op:
            raise ModelError(f"the model is damaged: a node of {where} has no name or no op")
        missing = _required_attributes(node.op) - set(node.attr)
        if missing:
            raise ModelError(
                f"the model is damaged: node {node.name!r} of {where} lacks its attribute "
                f"{min(missing)!r}"
            )
        for name in node.input:
            if node_of(name) not in known:
                raise ModelError(
                    f"the model is damaged: node {node.name!r} of {where} takes {name!r}, "
                    "which isn't there"
                )
    loops = {node.name for node in nodes if node.op in _LOOP_OPS}
    edges = {
        node.name: [node_of(name) for name in node.input if node_of(name) not in loops]
        for node in nodes
    }
    _check_acyclic(edges, lambda name: f"{where} has a cycle through node {name!r}")


@functools.cache
def _required_attributes(op: str) -> frozenset[str]:
    """Attributes that have no default: TensorFlow dies of the fingerprint of a model without them.

    None of ops that this TensorFlow doesn't know, nor of engines: TF-TRT's versions differ in them.
    """
    definition = None if op == OP else op_def_registry.get(op)
    if definition is None:
        return frozenset()
    return frozenset(attr.name for attr in definition.attr if not attr.HasField("default_value"))


def _check_results(name: str, function: Any, arguments: Sequence[str]) -> None:
    known = {node.name for node in function.node_def} | set(arguments)
    for result in function.signature.output_arg:
        if node_of(function.ret.get(result.name, "")) not in known:
            raise ModelError(
                f"the model is damaged: function {name!r} doesn't make its result {result.name!r}"
            )


def _check_acyclic(edges: Mapping[str, Sequence[str]], complaint: Callable[[str], str]) -> None:
    """Without recursion: the depth is the model's to choose."""
    done: set[str] = set()
    for start in edges:
        path, waiting = {start: None}, [(start, iter(edges[start]))]
        while waiting and start not in done:
            name, rest = waiting[-1]
            following = next((one for one in rest if one not in done and one in edges), None)
            if following is None:
                done.add(name)
                path.pop(name, None)
                waiting.pop()
            elif following in path:
                raise ModelError(f"the model is damaged: {complaint(following)}")
            else:
                path[following] = None
                waiting.append((following, iter(edges[following])))


def _check_assets(assets: Sequence[Any]) -> None:
    for asset in assets:
        name = asset.filename
        if name in _RESERVED or "/" in name or "\\" in name or "\0" in name:
            raise ModelError(
                f"the model is damaged: its asset {name!r} isn't a plain file name, and could lie "
                "outside of the model"
            )


def _check_objects(objects: Any, asset_count: int) -> None:
    count = len(objects.nodes)
    for index, node in enumerate(objects.nodes):
        if not all(0 <= other < count for other in object_references(node)):
            raise ModelError(
                f"the model is damaged: object {index} refers to an object that isn't there"
            )
        if node.HasField("asset") and not 0 <= node.asset.asset_file_def_index < asset_count:
            raise ModelError(f"the model is damaged: object {index} is an asset that isn't listed")
    for name, function in objects.concrete_functions.items():
        if not all(0 <= other < count for other in function.bound_inputs):
            raise ModelError(
                f"the model is damaged: function {name!r} captures an object that isn't there"
            )


def object_references(node: Any) -> list[int]:
    """Indices of the objects that a SavedObject refers to."""
    found = [child.node_id for child in (*node.children, *node.dependencies)]
    for slot in node.slot_variables:
        found += [slot.original_variable_node_id, slot.slot_variable_node_id]
    for saveable in node.saveable_objects.values():
        found += [saveable.save_function, saveable.restore_function]
    return found
