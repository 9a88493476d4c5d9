"""The names, dtypes and dimensions that an exported model shows to the outside."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import onnx

from tftrt_toolkit.artifacts import Segment, TensorSpec


def declare_interface(
    graph: onnx.GraphProto, segment: Segment, weights: Mapping[str, np.ndarray]
) -> None:
    """Declare inputs and outputs as TensorFlow has them, in the segment's order, weights last.

    Each unknown dimension of an input gets a name of its own: whether two are equal isn't known
    here. Those of outputs stay blank, for shape inference to fill in.
    """
    del graph.input[:]
    for spec in segment.inputs:
        dims = [
            f"{_symbol(spec.name)}_{axis}" if size is None else size
            for axis, size in enumerate(spec.shape.as_list())
        ]
        graph.input.append(_value_info(spec, dims))
    for name, array in weights.items():
        dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        graph.input.append(onnx.helper.make_tensor_value_info(name, dtype, array.shape))
    del graph.output[:]
    graph.output.extend(_value_info(spec, spec.shape.as_list()) for spec in segment.outputs)


def name_outputs(graph: onnx.GraphProto, inferred: onnx.GraphProto, segment: Segment) -> None:
    """Name the outputs' unknown dimensions: as the input's that is equal, else by themselves.

    inferred: the same graph after shape inference.
    """
    symbols = {
        dim.dim_param
        for value in graph.input
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_param
    }
    outputs = []
    for spec, value in zip(segment.outputs, inferred.output, strict=True):
        found = value.type.tensor_type.shape.dim
        dims: list[int | str] = []
        for axis, size in enumerate(spec.shape.as_list()):
            symbol = found[axis].dim_param if axis < len(found) else ""
            unique = f"{_symbol(spec.name)}_{axis}"
            dims.append(size if size is not None else symbol if symbol in symbols else unique)
        outputs.append(_value_info(spec, dims))
    del graph.output[:]
    graph.output.extend(outputs)


def _value_info(spec: TensorSpec, dims: list) -> onnx.ValueInfoProto:
    dtype = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype.as_numpy_dtype))
    return onnx.helper.make_tensor_value_info(spec.name, dtype, dims)


def _symbol(tensor: str) -> str:
    return re.sub(r"\W", "_", tensor.removesuffix(":0"))
