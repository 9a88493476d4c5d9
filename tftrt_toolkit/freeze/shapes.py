"""Static shapes and dtypes, as TensorFlow infers them when it imports a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import cpp_shape_inference_pb2
from tensorflow.python.ops import handle_data_util

from tftrt_toolkit.artifacts import TensorSpec
from tftrt_toolkit.errors import ModelError, error_line
from tftrt_toolkit.freeze.tables import table_handle_data
from tftrt_toolkit.graph import is_control, node_of

_STAND_IN = "tftrt_toolkit_handle"


def infer_tensors(graph_def: Any, handles: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """Every tensor that a graph's nodes yield -> its TensorSpec.

    handles: resource argument -> the handle of its variable or table, which tells what is there.
    """
    used = {node_of(name) for node in graph_def.node for name in node.input if not is_control(name)}
    known = {
        name: handles[name]._handle_data
        for name in used & handles.keys()
        if _is_variable(handles[name])
    } | table_handle_data(graph_def, handles)
    graph = tf.Graph()
    with graph.as_default():
        stand_ins = {f"{name}:0": _stand_in(data) for name, data in known.items()}
        try:
            tf.graph_util.import_graph_def(graph_def, input_map=stand_ins, name="")
        except ValueError as error:
            raise ModelError(
                f"TensorFlow refuses the model's graph: {error_line(error)}"
            ) from error
    tensors = [
        tensor
        for operation in graph.get_operations()
        if not operation.name.startswith(_STAND_IN)
        for tensor in operation.outputs
    ]
    return {tensor.name: TensorSpec(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors}


def _stand_in(handle_data: Any) -> Any:
    """A Placeholder that knows what is behind a handle, as the importer's can't."""
    placeholder = tf.compat.v1.placeholder(tf.resource, [], _STAND_IN)
    handle_data_util.set_handle_data(placeholder, handle_data)
    return placeholder


def _is_variable(handle: Any) -> bool:
    """Whether a resource handle says what kind of variable is behind it."""
    data = getattr(handle, "_handle_data", None)
    return (
        isinstance(data, cpp_shape_inference_pb2.CppShapeInferenceResult.HandleData) and data.is_set
    )


def set_argument_shapes(graph_def: Any, shapes: Mapping[str, tf.TensorShape]) -> None:
    """Give argument Placeholders these shapes, in place."""
    for node in graph_def.node:
        if node.name in shapes:
            node.attr["shape"].shape.CopyFrom(shapes[node.name].as_proto())


def join(first: tf.TensorShape, second: tf.TensorShape) -> tf.TensorShape:
    """The most specific shape that both are instances of."""
    return first.most_specific_compatible_shape(second)
