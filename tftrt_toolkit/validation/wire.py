"""Named tensors through a pipe: TensorFlow's own serialization, length-prefixed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.inputs import to_numpy

_LENGTH = 8


def write_message(pipe: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write a JSON header and arrays of any dtype, strings too."""
    parts = [
        (
            name,
            tf.io.serialize_tensor(tf.convert_to_tensor(array)).numpy(),
            tf.as_dtype(array.dtype),
        )
        for name, array in arrays.items()
    ]
    described = [[name, len(data), dtype.name] for name, data, dtype in parts]
    head = json.dumps({"header": header, "arrays": described}).encode()
    pipe.write(len(head).to_bytes(_LENGTH, "little") + head)
    for _, data, _ in parts:
        pipe.write(data)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The next message. Raises EOFError if the other side is gone."""
    head = json.loads(_read(pipe, int.from_bytes(_read(pipe, _LENGTH), "little")))
    arrays = {
        name: to_numpy(tf.io.parse_tensor(_read(pipe, size), tf.as_dtype(dtype)))
        for name, size, dtype in head["arrays"]
    }
    return head["header"], arrays


def _read(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError("the other process has ended")
    return data
