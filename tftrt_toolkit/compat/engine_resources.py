"""Takes the resources that hold engines out of a MetaGraphDef: nodes, functions, assets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tensorflow.core.protobuf import meta_graph_pb2

from tftrt_toolkit.compat.objects import concrete_functions, function_names, remove_objects
from tftrt_toolkit.compat.soundness import calls_of
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.functions import functions_by_name
from tftrt_toolkit.graph import data_inputs, is_control, node_of

RESOURCE_OPS = frozenset(
    {
        "CreateTRTResourceHandle",
        "InitializeTRTResource",
        "HoldTRTEngineVariables",
        "KeepTRTEngineVariable",
        "SerializeTRTResource",
        "GetCalibrationDataOp",
    }
)
_CONTAINERS = ("trackable_dict_wrapper", "trackable_list_wrapper", "trackable_tuple_wrapper")


def remove_engine_resources(meta_graph: Any) -> tuple[str, ...]:
    """Remove them in place; returns the file names of the assets that only they used.

    Raises ModelError where something else depends on them.
    """
    library = functions_by_name(meta_graph.graph_def)
    doomed_functions = _resource_functions(library)
    objects = meta_graph.object_graph_def
    removed = _remove_resource_objects(objects, doomed_functions)
    removed_assets = {node.asset.asset_file_def_index for node in removed if node.HasField("asset")}
    doomed_functions |= {name for node in removed for name in function_names(node)}
    assets = [meta_graph.asset_file_def[index] for index in sorted(removed_assets)]
    placeholders = {node_of(asset.tensor_info.name) for asset in assets}
    _remove_nodes(meta_graph, doomed_functions, placeholders, library)
    _remove_functions(meta_graph, doomed_functions, library)
    _remove_assets(meta_graph, removed_assets)
    return tuple(asset.filename for asset in assets)


def _resource_functions(library: Mapping[str, Any]) -> set[str]:
    """Functions that make or fill an engine's resource, and those that only call such."""
    found = {
        name
        for name, function in library.items()
        if any(node.op in RESOURCE_OPS for node in function.node_def)
    }
    growing = True
    while growing:
        callers = {
            name
            for name, function in library.items()
            if name not in found and set(calls_of(function.node_def, library)) & found
        }
        growing = bool(callers)
        found |= callers
    return found


def _remove_resource_objects(objects: Any, resource_functions: set[str]) -> list[Any]:
    """Cut off the resources and the containers that held nothing else; returns what went."""

    def is_engine(node: Any) -> bool:
        return node.HasField("resource") and any(
            name in resource_functions
            for child in node.children
            for name in function_names(objects.nodes[child.node_id])
        )

    doomed = {index for index, node in enumerate(objects.nodes) if is_engine(node)}
    for index, node in enumerate(objects.nodes):
        held = {child.node_id for child in node.children}
        if held and held <= doomed and node.user_object.identifier in _CONTAINERS:
            doomed.add(index)
    return remove_objects(objects, doomed)


def _remove_nodes(
    meta_graph: Any, functions: set[str], placeholders: set[str], library: Mapping[str, Any]
) -> None:
    """Remove the nodes of the main graph that fill the resources, and the variables of paths."""
    nodes = meta_graph.graph_def.node
    doomed = {
        node.name
        for node in nodes
        if node.op in RESOURCE_OPS or set(calls_of([node], library)) & functions
    } | placeholders
    by_name = {node.name: node for node in nodes}
    growing = bool(doomed)
    while growing:
        size = len(doomed)
        for node in nodes:
            sources = {node_of(name) for name in data_inputs(node)}
            if sources & doomed:
                doomed.add(node.name)
        # The path is kept in a variable of its own, which nothing else reads.
        for name in list(doomed):
            node = by_name.get(name)
            if node is not None and node.op == "AssignVariableOp":
                doomed.add(node_of(node.input[0]))
        growing = len(doomed) > size
    for name in _named_by_signatures(meta_graph):
        if name in doomed:
            raise ModelError(
                f"node {name!r} depends on an engine's resource, and a signature or the "
                "checkpoint on it: this model wasn't written by TF-TRT, and can't be restored"
            )
    kept = [node for node in nodes if node.name not in doomed]
    for node in kept:
        node.input[:] = [
            name for name in node.input if not (is_control(name) and node_of(name) in doomed)
        ]
    del nodes[:]
    nodes.extend(kept)
    for collection in meta_graph.collection_def.values():
        values = [one for one in collection.node_list.value if node_of(one) not in doomed]
        if len(values) != len(collection.node_list.value):
            collection.node_list.value[:] = values


def _named_by_signatures(meta_graph: Any) -> set[str]:
    named = [
        info.name
        for signature in meta_graph.signature_def.values()
        for info in (*signature.inputs.values(), *signature.outputs.values())
    ]
    saver = meta_graph.saver_def
    named += [saver.filename_tensor_name, saver.save_tensor_name, saver.restore_op_name]
    return {node_of(name) for name in named}


def _remove_functions(meta_graph: Any, doomed: set[str], library: Mapping[str, Any]) -> None:
    """Remove functions, but for those that something else still calls."""
    kept = [function for name, function in library.items() if name not in doomed]
    callers: Iterable[Any] = [
        *meta_graph.graph_def.node,
        *(node for function in kept for node in function.node_def),
    ]
    doomed = doomed - set(calls_of(callers, library))
    doomed -= concrete_functions(meta_graph.object_graph_def)
    graph_library = meta_graph.graph_def.library
    kept = [one for one in graph_library.function if one.signature.name not in doomed]
    del graph_library.function[:]
    graph_library.function.extend(kept)
    for name in doomed:
        meta_graph.object_graph_def.concrete_functions.pop(name, None)


def _remove_assets(meta_graph: Any, removed: set[int]) -> None:
    """Remove entries of the list of assets, and count the rest anew."""
    files = meta_graph.asset_file_def
    kept = [index for index in range(len(files)) if index not in removed]
    places = {old: new for new, old in enumerate(kept)}
    gone = {files[index].filename for index in removed}
    remaining = [files[index] for index in kept]
    del files[:]
    files.extend(remaining)
    for node in meta_graph.object_graph_def.nodes:
        if node.HasField("asset"):
            node.asset.asset_file_def_index = places[node.asset.asset_file_def_index]
    collection = meta_graph.collection_def.get("saved_model_assets")
    if collection is not None and gone:
        values = [value for value in collection.any_list.value if not _names_file(value, gone)]
        del collection.any_list.value[:]
        collection.any_list.value.extend(values)


def _names_file(value: Any, files: set[str]) -> bool:
    asset = meta_graph_pb2.AssetFileDef()
    return bool(value.Unpack(asset)) and asset.filename in files
