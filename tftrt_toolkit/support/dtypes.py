"""Sets of TensorFlow dtypes that engines take, as `DataType` numbers (what a NodeDef stores)."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf


def _numbers(*dtypes: tf.DType) -> frozenset[int]:
    return frozenset(dtype.as_datatype_enum for dtype in dtypes)


FLOAT32 = _numbers(tf.float32)
FLOATS = _numbers(tf.float16, tf.float32)
INTS = _numbers(tf.int32, tf.int64)
BOOL = _numbers(tf.bool)
INT8 = _numbers(tf.int8)
UINT8 = _numbers(tf.uint8)
NUMBERS = FLOATS | INTS
ANY = NUMBERS | BOOL

# TensorRT casts uint8 network inputs and knows no other use of them.
ENGINE_DTYPES = ANY | INT8 | UINT8

_WHY_NOT = {
    tf.float64: "float64 isn't a TensorRT type",
    tf.bfloat16: "bfloat16 can't be checked on a CPU; convert the float32 model to it instead",
    tf.string: "TensorRT has no strings",
    tf.resource: "resources (variables, tables, iterators) live in TensorFlow",
    tf.variant: "variants (lists, datasets, ragged tensors) live in TensorFlow",
    tf.complex64: "TensorRT has no complex numbers",
    tf.complex128: "TensorRT has no complex numbers",
}


def describe(number: int) -> str:
    """Why a dtype stays out of engines."""
    dtype = tf.as_dtype(number)
    return _WHY_NOT.get(dtype, f"{dtype.name} isn't a type that TensorRT computes with")


def names(numbers: Iterable[int]) -> str:
    """Dtypes by name, narrowest first, for people."""
    dtypes = sorted(
        (tf.as_dtype(number) for number in numbers),
        key=lambda dtype: (dtype.is_floating, dtype.size, dtype.name),
    )
    return ", ".join(dtype.name for dtype in dtypes)
