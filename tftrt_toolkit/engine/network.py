"""From typed ONNX to a TensorRT network, with every return value checked."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import onnx

from tftrt_toolkit import onnx_model
from tftrt_toolkit.artifacts import OnnxModel, ShapeProfile, ShapeRange
from tftrt_toolkit.errors import EngineBuildError, InvalidArgumentError
from tftrt_toolkit.params import check_range
from tftrt_toolkit.trt import TensorRT

# ONNX element type -> TensorRT's name of it. TensorRT turns a float64 input into float32 without a
# word, so a tensor at the border must be one of these.
_BORDER_TYPES = {
    onnx.TensorProto.FLOAT: "FLOAT",
    onnx.TensorProto.FLOAT16: "HALF",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.INT8: "INT8",
    onnx.TensorProto.UINT8: "UINT8",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.BOOL: "BOOL",
}


@contextlib.contextmanager
def parsed_network(
    tensorrt: TensorRT, builder: Any, model: OnnxModel, segment: str
) -> Iterator[Any]:
    """The network of a model; the parser and the weights live until the block ends.

    Raises EngineBuildError, with the nodes to blame, if the parser refuses the model.
    """
    network = builder.create_network(tensorrt.network_flags())
    if network is None:
        raise EngineBuildError(f"{segment}: TensorRT creates no strongly typed network")
    parser = tensorrt.module.OnnxParser(network, tensorrt.logger)
    with tensorrt.collect() as messages, contextlib.ExitStack() as files:
        if tensorrt.parser_takes_weights:
            accepted = _parse_in_memory(parser, model, segment)
        else:
            folder = files.enter_context(tempfile.TemporaryDirectory(prefix="tftrt_onnx_"))
            accepted = parser.parse_from_file(str(onnx_model.save(model, folder)))
        if not accepted:
            raise _parser_error(parser, model, segment, messages.summary())
        _check_border(tensorrt, network, model, segment)
        yield network


def _parse_in_memory(parser: Any, model: OnnxModel, segment: str) -> bool:
    if not parser.load_model_proto(model.proto.SerializeToString()):
        return False
    for tensor in model.proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            array = model.weights[tensor.name]
            if not parser.load_initializer(tensor.name, array.ctypes.data, array.nbytes):
                raise EngineBuildError(
                    f"{segment}: the parser doesn't take weight {tensor.name!r} "
                    f"({array.dtype}{list(array.shape)}) for its initializer {list(tensor.dims)}"
                )
    return bool(parser.parse_model_proto())


def _parser_error(parser: Any, model: OnnxModel, segment: str, said: str) -> EngineBuildError:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    nodes = tuple(dict.fromkeys(error.node_name() for error in errors if error.node_name()))
    words = "; ".join(
        f"{error.node_operator()} {error.node_name()}: {' '.join(error.desc().split())}"
        for error in errors
    )
    words = words or said or "without telling why"
    return EngineBuildError(
        f"{segment}: TensorRT's parser refuses it: {words}", nodes or blamed(words, model)
    )


def blamed(words: str, model: OnnxModel) -> tuple[str, ...]:
    """The ONNX nodes that a message names."""
    spoken = set(re.findall(r"[\w./:~-]+", words))
    spoken |= {word.rstrip(".:") for word in spoken}
    names = (node.name for node in model.proto.graph.node)
    return tuple(name for name in names if name and name in spoken)


def _check_border(tensorrt: TensorRT, network: Any, model: OnnxModel, segment: str) -> None:
    """Inputs and outputs must be the model's, in name and type."""
    graph = model.proto.graph
    sides = (
        ("input", graph.input, network.num_inputs, network.get_input),
        ("output", graph.output, network.num_outputs, network.get_output),
    )
    for side, values, count, get in sides:
        tensors = {tensor.name: tensor for tensor in map(get, range(count))}
        for value in values:
            element = value.type.tensor_type.elem_type
            expected = _BORDER_TYPES.get(element)
            if value.name not in tensors:
                raise EngineBuildError(f"{segment}: TensorRT drops the {side} {value.name!r}")
            if expected is None or tensors[value.name].dtype != getattr(
                tensorrt.module.DataType, expected
            ):
                name = onnx.TensorProto.DataType.Name(element)
                raise EngineBuildError(
                    f"{segment}: TensorRT doesn't take the {side} {value.name!r} as {name}"
                )


def add_profiles(
    builder: Any, config: Any, network: Any, profiles: Sequence[ShapeProfile], segment: str
) -> None:
    """Add optimization profiles for the network's inputs that aren't fixed.

    Raises InvalidArgumentError if a profile doesn't fit: TensorRT itself would ignore an unknown
    name, and take bounds in the wrong order, without a word.
    """
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    dynamic = [tensor for tensor in inputs if -1 in tuple(tensor.shape) or tensor.is_shape_tensor]
    if not dynamic:
        return
    if not profiles:
        names = ", ".join(tensor.name for tensor in dynamic)
        raise InvalidArgumentError(f"{segment}: inputs of unknown shape need a profile: {names}")
    for profile in profiles:
        _check_names(profile, {tensor.name for tensor in inputs}, segment)
        made = builder.create_optimization_profile()
        for tensor in dynamic:
            if tensor.is_shape_tensor:
                one = _range(profile.values, tensor, "values", segment)
                made.set_shape_input(tensor.name, one.min, one.opt, one.max)
                readback = made.get_shape_input(tensor.name)
            else:
                one = _range(profile.shapes, tensor, "shape", segment)
                _check_dims(one, tensor, segment)
                made.set_shape(tensor.name, one.min, one.opt, one.max)
                readback = made.get_shape(tensor.name)
            if [tuple(shape) for shape in readback] != [one.min, one.opt, one.max]:
                raise EngineBuildError(f"{segment}: TensorRT doesn't take {one} for {tensor.name}")
        if config.add_optimization_profile(made) < 0:
            raise EngineBuildError(f"{segment}: TensorRT refuses the profile {profile}")


def _check_names(profile: ShapeProfile, names: set[str], segment: str) -> None:
    unknown = sorted((profile.shapes.keys() | profile.values.keys()) - names)
    if unknown:
        raise InvalidArgumentError(
            f"{segment}: the profile names {', '.join(unknown)}, but the inputs are "
            + ", ".join(sorted(names))
        )


def _range(table: Any, tensor: Any, what: str, segment: str) -> ShapeRange:
    if tensor.name not in table:
        raise InvalidArgumentError(f"{segment}: the profile tells no {what} of {tensor.name!r}")
    one = table[tensor.name]
    ranges = (one.min, one.opt, one.max)
    if what == "shape":
        check_range(tensor.name, one)
    elif not (
        len(set(map(len, ranges))) == 1
        and all(low <= best <= high for low, best, high in zip(*ranges, strict=False))
    ):
        raise InvalidArgumentError(
            f"{segment}: values of shape tensor {tensor.name!r} need min <= opt <= max, got {one}"
        )
    return one


def _check_dims(one: ShapeRange, tensor: Any, segment: str) -> None:
    dims = tuple(tensor.shape)
    fits = len(dims) == len(one.min) and all(
        dim in (-1, low) and low <= high and (dim == -1 or low == high)
        for dim, low, high in zip(dims, one.min, one.max, strict=True)
    )
    if not fits:
        raise InvalidArgumentError(
            f"{segment}: the profile's shapes {one.min} to {one.max} of {tensor.name!r} don't fit "
            f"its shape {dims}"
        )
