"""What lookup tables hold: TensorFlow infers the shape of a lookup from its table's handle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import cpp_shape_inference_pb2

from tftrt_toolkit.graph import data_inputs, node_of

_LOOKUP = "LookupTableFindV2"
_Result = cpp_shape_inference_pb2.CppShapeInferenceResult


def table_handle_data(graph_def: Any, handles: Mapping[str, Any]) -> dict[str, Any]:
    """Resource argument -> handle data, for each table in which a node looks something up.

    A SavedModel doesn't tell the shape of a table's keys and values, so a row of the table is
    asked for it; a table that isn't initialized, or is empty, stays unknown.
    """
    found: dict[str, Any] = {}
    for node in graph_def.node:
        if node.op != _LOOKUP:
            continue
        name = node_of(next(data_inputs(node)))
        if name in handles and name not in found:
            data = _describe(handles[name], node.attr["Tin"].type, node.attr["Tout"].type)
            found |= {name: data} if data else {}
    return found


def _describe(handle: Any, key_type: int, value_type: int) -> Any | None:
    try:
        keys, values = tf.raw_ops.LookupTableExportV2(
            table_handle=handle, Tkeys=key_type, Tvalues=value_type
        )
    except tf.errors.OpError:
        return None
    return _Result.HandleData(
        is_set=True,
        shape_and_type=[
            _Result.HandleShapeAndType(shape=tensor.shape[1:].as_proto(), dtype=dtype)
            for tensor, dtype in ((keys, key_type), (values, value_type))
        ],
    )
