"""Converted signatures for TF1 models: one graph without objects, fed and fetched by name."""

from __future__ import annotations

import secrets
from typing import Any

import tensorflow as tf

from tftrt_toolkit.artifacts import ConvertedFunction
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.functions import output_types
from tftrt_toolkit.graph import is_control, node_of, tensor_of


def inline_signature(meta_graph: Any, key: str, converted: ConvertedFunction) -> None:
    """Add the converted function's nodes to the graph, and let signature `key` fetch them.

    Nodes get the prefix `tftrt_<id>`. Variables and tables stay those of the graph, which have the
    names under which the function captured them. The original's nodes stay for other signatures.
    """
    function, graph_def = converted.function, meta_graph.graph_def
    signature = meta_graph.signature_def[key]
    source = function.graph.as_graph_def()
    present = {node.name: node for node in graph_def.node}
    infos = [signature.inputs[item] for item in sorted(signature.inputs)]
    inputs = [name for info in infos for name in _tensors(info)]
    arguments = [tensor.op.name for tensor in function.inputs]
    tensors = {f"{argument}:0": name for argument, name in zip(arguments, inputs, strict=False)}
    for name in arguments[len(inputs) :]:
        if name not in present:
            raise ModelError(f"the graph has no variable {name!r} that signature {key!r} captures")
    kept = set(arguments)
    for node in source.node:
        if node.name in present and _makes_resource(node) and present[node.name].op == node.op:
            kept.add(node.name)
    prefix = f"tftrt_{secrets.token_hex(4)}"
    for node in source.node:
        if node.name not in kept:
            _add_node(graph_def, node, prefix, kept, tensors)
    graph_def.library.function.extend(source.library.function)
    results = (_moved(tensor.name, prefix, kept, tensors) for tensor in function.outputs)
    for item in sorted(signature.outputs):
        _set_tensors(signature.outputs[item], results)


def _makes_resource(node: Any) -> bool:
    """Whether a node yields the handle of a variable, a table or the like."""
    if any(not is_control(name) for name in node.input):
        return False
    return output_types(node, {}) == [tf.resource.as_datatype_enum]


def _add_node(
    graph_def: Any, node: Any, prefix: str, kept: set[str], tensors: dict[str, str]
) -> None:
    added = graph_def.node.add()
    added.CopyFrom(node)
    added.name = f"{prefix}/{node.name}"
    added.input[:] = [
        _moved_control(name, prefix, kept, tensors)
        if is_control(name)
        else _moved(tensor_of(name), prefix, kept, tensors)
        for name in node.input
    ]
    if "frame_name" in added.attr:  # of a TF1 loop: two loops of one name can't run at once
        added.attr["frame_name"].s = f"{prefix}/{added.attr['frame_name'].s.decode()}".encode()


def _moved(tensor: str, prefix: str, kept: set[str], tensors: dict[str, str]) -> str:
    """The tensor's name in the model's graph."""
    if tensor in tensors:
        return tensors[tensor]
    return tensor if node_of(tensor) in kept else f"{prefix}/{tensor}"


def _moved_control(name: str, prefix: str, kept: set[str], tensors: dict[str, str]) -> str:
    return "^" + node_of(_moved(f"{node_of(name)}:0", prefix, kept, tensors))


def _tensors(info: Any) -> list[str]:
    """Names of a TensorInfo's tensors, in the order in which TensorFlow flattens it."""
    if info.WhichOneof("encoding") == "coo_sparse":
        sparse = info.coo_sparse
        return [
            sparse.indices_tensor_name,
            sparse.values_tensor_name,
            sparse.dense_shape_tensor_name,
        ]
    return [info.name]


def _set_tensors(info: Any, names: Any) -> None:
    """Give a TensorInfo the next of `names`."""
    if info.WhichOneof("encoding") == "coo_sparse":
        sparse = info.coo_sparse
        sparse.indices_tensor_name = next(names)
        sparse.values_tensor_name = next(names)
        sparse.dense_shape_tensor_name = next(names)
    else:
        info.name = next(names)
