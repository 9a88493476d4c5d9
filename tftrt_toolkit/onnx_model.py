"""What can be done with an `OnnxModel` whose large weights lie beside its graph."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import inliner

from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.errors import ConversionError, ModelError, SessionError

if TYPE_CHECKING:
    import onnxruntime

PROTO_LIMIT = 2**31 - 1  # bytes; protobuf counts a message's size in an int32
WEIGHTS_FILE = "model.weights"
ALIGNMENT = 4096  # of each weight in that file, so that readers can map it
LARGE_BYTES = 16384  # an initializer of more than this is taken out of a file's graph
# Two values a byte: as arrays they are the packed bytes, flat, as ONNX stores them.
PACKED_TYPES = {onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.FLOAT4E2M1}


def external_tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    """The initializer that stands for `array` in a graph that doesn't hold its bytes."""
    return onnx.TensorProto(
        name=name,
        data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
        dims=array.shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )


def weight_bytes(array: np.ndarray) -> memoryview:
    """An array's bytes, uncopied where it is C-contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def to_session(
    model: OnnxModel,
    *,
    weights_as_inputs: bool = False,
    optimize: bool = True,
    threads: int = 0,
    providers: Sequence[str | tuple[str, Mapping[str, str]]] = ("CPUExecutionProvider",),
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session of `model`, whose weights are never serialised.

    ONNX Runtime copies each initializer once. With `weights_as_inputs` it copies none: the weights
    become inputs, to be fed with `model.weights` at each run (`run_session` does). That suits few
    runs; kernels can't pack such weights beforehand.

    optimize: False runs the nodes as they stand, with no fusion.
    threads: of one operator; 0: as many as cores. Raises SessionError where ONNX Runtime refuses.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; they come as exceptions too
    options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if weights_as_inputs:
        proto = _weights_as_inputs(model)
    else:
        proto = model.proto
        tensors = {one.name: one for one in proto.graph.initializer if one.name in model.weights}
        arrays = {name: _runtime_array(one, model.weights[name]) for name, one in tensors.items()}
        values = [
            onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, tensors[name].data_type)
            for name, array in arrays.items()
        ]
        if values:
            options.add_external_initializers(list(arrays), values)
    with _session_errors():
        return onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=list(providers)
        )


def with_input_shapes(model: OnnxModel, shapes: Mapping[str, Sequence[int]]) -> OnnxModel:
    """The model for inputs of these shapes alone: what computes with shapes becomes constant."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for value in proto.graph.input:
        if value.name in shapes:
            del value.type.tensor_type.shape.dim[:]
            for size in shapes[value.name]:
                value.type.tensor_type.shape.dim.add(dim_value=size)
    del proto.graph.value_info[:]  # of other shapes
    return dataclasses.replace(model, proto=proto)


def run_session(
    session: onnxruntime.InferenceSession, model: OnnxModel, inputs: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Outputs in the model's order, for inputs in the model's order. Raises SessionError."""
    names = [value.name for value in model.proto.graph.input]
    feeds = dict(zip(names, map(np.asarray, inputs), strict=True))
    session_inputs = {value.name for value in session.get_inputs()}
    feeds |= {name: array for name, array in model.weights.items() if name in session_inputs}
    with _session_errors():
        return session.run([value.name for value in model.proto.graph.output], feeds)


def _runtime_array(tensor: onnx.TensorProto, array: np.ndarray) -> np.ndarray:
    """The array in a form that ONNX Runtime takes, under the initializer's own type and shape.

    Types that numpy doesn't have are given as integers of their size; of four-bit types, packed two
    a byte, ONNX Runtime reads the first half.
    """
    if array.shape == tuple(tensor.dims):
        array = np.asarray(array, order="C")
        return array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array
    spread = np.zeros(tuple(tensor.dims), np.uint8)
    spread.reshape(-1)[: array.size] = array
    return spread


@contextlib.contextmanager
def _session_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        raise SessionError(" ".join(str(error).split())) from error


def _weights_as_inputs(model: OnnxModel) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in model.weights]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    for name, array in model.weights.items():
        dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        proto.graph.input.append(onnx.helper.make_tensor_value_info(name, dtype, array.shape))
    return proto


def to_proto(model: OnnxModel) -> onnx.ModelProto:
    """The whole model as one proto; ConversionError where that would pass 2 GB."""
    size = model.proto.ByteSize() + sum(array.nbytes for array in model.weights.values())
    if size > PROTO_LIMIT:
        raise ConversionError(
            f"the ONNX model has {size / 2**30:.1f} GiB, more than one file may hold: "
            "save it with its weights beside it"
        )
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        if tensor.name in model.weights:
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
            tensor.raw_data = bytes(weight_bytes(model.weights[tensor.name]))
    return proto


def save(model: OnnxModel, directory: Path | str, name: str = "model.onnx") -> Path:
    """Write `directory/name`, and the weights into `model.weights` beside it; any size.

    The directory is made where it is missing. Any ONNX tool reads the result. Returns the path.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    offsets = write_weights(model.weights, directory / WEIGHTS_FILE) if model.weights else {}
    for tensor in proto.graph.initializer:
        if tensor.name in offsets:
            refer_to_file(tensor, WEIGHTS_FILE, *offsets[tensor.name])
    path = directory / name
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return path


def load(path: Path | str) -> OnnxModel:
    """Read an ONNX file of any tool, with its external data if it has any.

    Local functions are inlined and nodes without a name get one. Raises ModelError if the file is
    missing or damaged.
    """
    path = Path(path)
    try:
        onnx.checker.check_model(str(path))
        proto = onnx.load(str(path), load_external_data=False)
        if proto.functions:
            proto = inliner.inline_local_functions(proto)
        weights = {}
        for tensor in proto.graph.initializer:
            if onnx.external_data_helper.uses_external_data(tensor):
                onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
                tensor.data_location = onnx.TensorProto.DEFAULT
                del tensor.external_data[:]
            if tensor.ByteSize() > LARGE_BYTES and tensor.data_type not in PACKED_TYPES:
                weights[tensor.name] = onnx.numpy_helper.to_array(tensor)
    except (onnx.checker.ValidationError, DecodeError, OSError, ValueError) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{path} can't be read as an ONNX model ({words}): export it again"
        ) from error
    _take_out(proto.graph, weights)
    for index, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return OnnxModel(proto, weights)


def _take_out(graph: onnx.GraphProto, weights: Mapping[str, np.ndarray]) -> None:
    """Leave references where weights were, and inputs that aren't initializers too."""
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    for name, array in weights.items():
        initializers[name].CopyFrom(external_tensor(name, array))
    inputs = [value for value in graph.input if value.name not in initializers]
    del graph.input[:]
    graph.input.extend(inputs)


def write_weights(weights: Mapping[str, np.ndarray], path: Path) -> dict[str, tuple[int, int]]:
    """Write all arrays into one file, aligned; name -> (offset, length) in bytes."""
    places = {}
    with path.open("wb") as file:
        for name, array in weights.items():
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            places[name] = (file.tell(), array.nbytes)
            file.write(weight_bytes(array))
    return places


def refer_to_file(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Say where an external initializer's bytes are: `location` is relative to the model's file."""
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def content_hash(model: OnnxModel) -> str:
    """SHA-256 over graph and weights, in hex: equal models give equal hashes in any process."""
    digest = hashlib.sha256(model.proto.SerializeToString(deterministic=True))
    for name in sorted(model.weights):
        array = model.weights[name]
        digest.update(f"\0{name}\0{array.dtype}\0{array.shape}\0".encode())
        digest.update(weight_bytes(array))
    return digest.hexdigest()
