"""Edits a MetaGraphDef in place: converted signatures and engine resources go in, the rest stays.

TensorFlow could load the model and save it again, but that traces and writes every function and
variable anew, forgets what it doesn't understand, and breaks the tables of TF1 models. Here only
what changes is touched, and the checkpoint is copied as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tensorflow.python.framework import meta_graph as meta_graphs

from tftrt_toolkit.artifacts import ConvertedFunction
from tftrt_toolkit.assemble.resources import CHILD, EngineResources
from tftrt_toolkit.assemble.signatures import signature_call, signature_object
from tftrt_toolkit.errors import InternalError, ModelError
from tftrt_toolkit.functions import called_functions
from tftrt_toolkit.graph import is_control, node_of
from tftrt_toolkit.protos import copied

_INIT_SIGNATURE = "__saved_model_init_op"
_MAIN_OP = "saved_model_main_op"
_ASSETS = "saved_model_assets"
_INIT_COLLECTIONS = (_MAIN_OP, "legacy_init_op")


def replace_signature(meta_graph: Any, key: str, converted: ConvertedFunction) -> None:
    """Make signature `key` of a TF2 model run `converted`, for both loaders.

    TF2's finds functions through the object graph; TF1's and TensorFlow Serving's find a call node
    in the graph. Inputs, captures and outputs are those of the function replaced.
    """
    objects = meta_graph.object_graph_def
    signature = signature_object(objects, key)
    old, new = signature.concrete_function_name, converted.function.function_def
    signature.concrete_function_name = new.signature.name
    saved = objects.concrete_functions[new.signature.name]
    saved.CopyFrom(objects.concrete_functions[old])
    call = signature_call(meta_graph, key)
    if call.attr["f"].func.name != old:
        raise ModelError(
            f"signature {key!r} is one function in the model's objects and another in its graph: "
            "export the model again"
        )
    call.attr["f"].func.name = new.signature.name
    library = meta_graph.graph_def.library.function
    replaced = next(function for function in library if function.signature.name == old)
    added = library.add()
    added.CopyFrom(new)
    _copy_argument_attributes(replaced, added)
    library.extend(converted.function.graph.as_graph_def().library.function)
    _drop_function(meta_graph, old)


def _copy_argument_attributes(source: Any, target: Any) -> None:
    """What TensorFlow knew of the arguments: names for the user, shapes, what handles refer to."""
    pairs = zip(source.signature.input_arg, target.signature.input_arg, strict=True)
    for index, (known, argument) in enumerate(pairs):
        if known.type != argument.type:
            raise InternalError(f"argument {index} of {target.signature.name!r} changed its type")
        del argument.handle_data[:]
        argument.handle_data.extend(known.handle_data)
        target.arg_attr[index].CopyFrom(source.arg_attr[index])


def _drop_function(meta_graph: Any, name: str) -> None:
    """Remove a function that nothing names any more."""
    objects, graph_def = meta_graph.object_graph_def, meta_graph.graph_def
    named = {item.bare_concrete_function.concrete_function_name for item in objects.nodes}
    named |= {each for item in objects.nodes for each in item.function.concrete_functions}
    bodies = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
    named |= {
        called.name for nodes in bodies for node in nodes for called in called_functions(node)
    }
    if name in named:
        return
    objects.concrete_functions.pop(name, None)
    for index, function in enumerate(graph_def.library.function):
        if function.signature.name == name:
            del graph_def.library.function[index]
            return


def list_assets(meta_graph: Any) -> set[str]:
    """Names of the model's asset files.

    TF1 lists them in a collection, which its loader ignores if there is the newer list too: they
    move there.
    """
    assets = meta_graph.asset_file_def
    if not assets and _ASSETS in meta_graph.collection_def:
        for packed in meta_graph.collection_def[_ASSETS].any_list.value:
            packed.Unpack(assets.add())
        del meta_graph.collection_def[_ASSETS]
    return {asset.filename for asset in assets}


def add_resources(meta_graph: Any, resources: EngineResources, uid: str) -> None:
    """Add engine resources, so that either loader initializes them from their assets.

    uid: makes the names of what is added unlike all others.
    """
    prefix = f"tftrt_engines_{uid}"
    source = copied(resources.meta_graph)
    init = source.signature_def[_INIT_SIGNATURE].outputs[_INIT_SIGNATURE].name
    _rename_functions(source, prefix)
    init_node = _add_nodes(meta_graph.graph_def, source.graph_def, node_of(init), prefix)
    first_asset = len(meta_graph.asset_file_def)
    for asset in source.asset_file_def:
        added = meta_graph.asset_file_def.add()
        added.CopyFrom(asset)
        added.tensor_info.name = f"{prefix}/{asset.tensor_info.name}"
    if meta_graph.HasField("object_graph_def"):
        _add_objects(meta_graph.object_graph_def, source.object_graph_def, first_asset, prefix)
    _chain_init_op(meta_graph, init_node, prefix)


def _rename_functions(meta_graph: Any, prefix: str) -> None:
    """Put a prefix before the name of every function and of every call to one."""
    graph_def, objects = meta_graph.graph_def, meta_graph.object_graph_def
    for function in graph_def.library.function:
        function.signature.name = f"{prefix}_{function.signature.name}"
    for nodes in (graph_def.node, *(item.node_def for item in graph_def.library.function)):
        for node in nodes:
            for called in called_functions(node):
                called.name = f"{prefix}_{called.name}"
    for item in objects.nodes:
        if item.HasField("bare_concrete_function"):
            bare = item.bare_concrete_function
            bare.concrete_function_name = f"{prefix}_{bare.concrete_function_name}"
        names = [f"{prefix}_{name}" for name in item.function.concrete_functions]
        if names:
            item.function.concrete_functions[:] = names
    renamed = {f"{prefix}_{name}": value for name, value in objects.concrete_functions.items()}
    for name in list(objects.concrete_functions):
        del objects.concrete_functions[name]
    for name, value in renamed.items():
        objects.concrete_functions[name].CopyFrom(value)


def _add_nodes(graph_def: Any, source: Any, init: str, prefix: str) -> str:
    """Add what the source's init node needs, names and shared names prefixed; its name here."""
    by_name = {node.name: node for node in source.node}
    needed, waiting = {init}, [init]
    while waiting:
        for name in map(node_of, by_name[waiting.pop()].input):
            if name not in needed:
                needed.add(name)
                waiting.append(name)
    for name in needed:
        node = graph_def.node.add()
        node.CopyFrom(by_name[name])
        node.name = f"{prefix}/{name}"
        node.input[:] = [_prefixed(source_name, prefix) for source_name in node.input]
        if "shared_name" in node.attr:
            node.attr["shared_name"].s = node.name.encode()
        node.attr.pop("_class", None)  # names nodes under their old names
    graph_def.library.function.extend(_saver_free(source.library.function))
    return f"{prefix}/{init}"


def _saver_free(functions: Iterable[Any]) -> list[Any]:
    """Functions but those that save or restore a checkpoint, which the model has of its own."""
    savers = ("SaveV2", "RestoreV2")
    return [item for item in functions if not any(node.op in savers for node in item.node_def)]


def _prefixed(name: str, prefix: str) -> str:
    return f"^{prefix}/{node_of(name)}" if is_control(name) else f"{prefix}/{name}"


def _add_objects(objects: Any, source: Any, first_asset: int, prefix: str) -> None:
    """Add the source root's child CHILD, and all objects below it, under the root."""
    offset = len(objects.nodes)
    for item in source.nodes:
        added = objects.nodes.add()
        added.CopyFrom(item)
        for reference in (*added.children, *added.dependencies):
            reference.node_id += offset
        if added.HasField("asset"):
            added.asset.asset_file_def_index += first_asset
    # The source's own root and signatures stay behind as objects that nothing refers to.
    root = objects.nodes[offset]
    (child,) = [child for child in root.children if child.local_name == CHILD]
    objects.nodes[0].children.add(node_id=child.node_id, local_name=f"{CHILD}_{prefix}")
    for name, saved in source.concrete_functions.items():
        objects.concrete_functions[name].CopyFrom(saved)
        bound = [node_id + offset for node_id in saved.bound_inputs]
        objects.concrete_functions[name].bound_inputs[:] = bound


def _chain_init_op(meta_graph: Any, init: str, prefix: str) -> None:
    """Make one init op of the model's, if it has one, and `init`."""
    before = [
        name
        for collection in _INIT_COLLECTIONS
        if collection in meta_graph.collection_def
        for name in meta_graph.collection_def[collection].node_list.value
    ]
    if _INIT_SIGNATURE in meta_graph.signature_def:
        before.append(meta_graph.signature_def[_INIT_SIGNATURE].outputs[_INIT_SIGNATURE].name)
    both = meta_graph.graph_def.node.add(name=f"{prefix}/init", op="NoOp")
    both.input.extend(dict.fromkeys(f"^{node_of(name)}" for name in [*before, init]))
    for collection in _INIT_COLLECTIONS:
        meta_graph.collection_def.pop(collection, None)
    meta_graph.collection_def[_MAIN_OP].node_list.value.append(both.name)
    if _INIT_SIGNATURE in meta_graph.signature_def:
        meta_graph.signature_def[_INIT_SIGNATURE].outputs[_INIT_SIGNATURE].name = both.name


def refresh_op_list(meta_graph: Any) -> None:
    """List the ops that the graph uses now, as an older TensorFlow would want to know them."""
    operations = meta_graphs.stripped_op_list_for_graph(meta_graph.graph_def)
    meta_graph.meta_info_def.stripped_op_list.CopyFrom(operations)
