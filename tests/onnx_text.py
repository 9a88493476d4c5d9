"""Models as text in, models as text out: what the tests of ONNX stages read and write."""

import onnx

from tftrt_toolkit.artifacts import OnnxModel, TypedOnnx


def parse(text, opset=18, ir=9):
    """A ModelProto from a graph in ONNX's text form."""
    return onnx.parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]>\n{text}')


def model(text, weights=None, opset=18, names=True):
    """An OnnxModel; those of `weights` that it uses lie beside it, nodes are named `<op>_<n>`."""
    proto = parse(text, opset)
    used = {name for node in proto.graph.node for name in node.input}
    weights = {name: array for name, array in (weights or {}).items() if name in used}
    for name, array in weights.items():
        tensor = proto.graph.initializer.add(name=name, data_location=onnx.TensorProto.EXTERNAL)
        tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.dims.extend(array.shape)
        tensor.external_data.add(key="location", value="beside the graph")
    if names:
        for index, node in enumerate(proto.graph.node):
            node.name = node.name or f"{node.op_type.lower()}_{index}"
    return OnnxModel(proto, weights)


def typed(text, weights=None, precision="FP32", opset=18):
    """A TypedOnnx of a graph in text form."""
    return TypedOnnx(model(text, weights, opset), precision)


def nodes(proto):
    """The nodes as lines `output, ... = Op(input, ...)`, attributes left out."""
    return [
        f"{', '.join(node.output)} = {node.op_type}({', '.join(node.input)})"
        for node in proto.graph.node
    ]


def dtypes(proto):
    """Initializer -> element type, as ONNX spells it."""
    name = onnx.TensorProto.DataType.Name
    return {tensor.name: name(tensor.data_type) for tensor in proto.graph.initializer}
