"""Triton's model configurations, in protobuf's text format."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tftrt_toolkit.artifacts import TensorSpec
from tftrt_toolkit.errors import ConversionError

_TYPES = {
    tf.bool: "TYPE_BOOL",
    tf.uint8: "TYPE_UINT8",
    tf.uint16: "TYPE_UINT16",
    tf.uint32: "TYPE_UINT32",
    tf.uint64: "TYPE_UINT64",
    tf.int8: "TYPE_INT8",
    tf.int16: "TYPE_INT16",
    tf.int32: "TYPE_INT32",
    tf.int64: "TYPE_INT64",
    tf.float16: "TYPE_FP16",
    tf.bfloat16: "TYPE_BF16",
    tf.float32: "TYPE_FP32",
    tf.float64: "TYPE_FP64",
    tf.string: "TYPE_STRING",
}


@dataclasses.dataclass(frozen=True)
class Enum:
    """A value that protobuf's text format writes without quotes."""

    name: str


def tensors(specs: Iterable[TensorSpec], batched: bool, ensemble: bool) -> list[dict[str, Any]]:
    """ModelInputs or ModelOutputs under the specs' names.

    batched: the first dimension is the batch, which Triton counts apart. Triton has no tensors
    without dimensions: such a one is shown as `[1]`, and reshaped for the model. An ensemble only
    shows it.

    Raises ConversionError for a type or rank that Triton can't be told.
    """
    return [_tensor(spec, batched, ensemble) for spec in specs]


def _tensor(spec: TensorSpec, batched: bool, ensemble: bool) -> dict[str, Any]:
    if spec.dtype not in _TYPES or spec.shape.rank is None:
        raise ConversionError(
            f"Triton can't be told of {spec.name}, {spec.dtype.name}{spec.shape}: it takes tensors "
            "of known rank and of the usual types; serve the native form with export_tf_serving"
        )
    dims = [-1 if size is None else size for size in spec.shape.as_list()][batched:]
    found: dict[str, Any] = {
        "name": spec.name,
        "data_type": Enum(_TYPES[spec.dtype]),
        "dims": dims or [1],
    }
    if not dims and not ensemble:
        found["reshape"] = {"shape": []}
    return found


def to_text(message: Mapping[str, Any], indent: str = "") -> str:
    """Protobuf text: a dictionary is a message, a list of dictionaries a repeated one."""
    lines = []
    for key, value in message.items():
        values = value if isinstance(value, list | tuple) else [value]
        if not values or not isinstance(values[0], Mapping):
            lines.append(f"{indent}{key}: {_scalars(value)}\n")
            continue
        for one in values:
            lines.append(f"{indent}{key} {{\n{to_text(one, indent + '  ')}{indent}}}\n")
    return "".join(lines)


def map_(entries: Mapping[str, str]) -> list[dict[str, str]]:
    """A map field's entries."""
    return [{"key": key, "value": value} for key, value in entries.items()]


def _scalars(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_scalars, value))}]"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value)
