"""A typed model in a form whose numbers on a CPU are those that its types imply.

ONNX Runtime on a CPU computes an FP16 graph with FP32 inside, so an overflow goes unseen, and has
no BF16 products. Here each low-precision node computes in FP32 and its result is rounded:

    before   y = MatMul(x, w)                 fp16
    after    y/raw = MatMul(x, w)             fp32
             y/low = Cast<fp16>(y/raw)   y = Cast<fp32>(y/low)

Run it with optimizations off: they would take the casts and Q/DQ pairs out. Not predicted are the
order of sums and the choice of kernels.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from tftrt_toolkit.artifacts import OnnxModel, TypedOnnx
from tftrt_toolkit.precision.casts import FLOAT, set_attribute
from tftrt_toolkit.precision.graph import Graph, attribute

_LOW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
# They move values that are rounded already.
_MOVERS = {
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Expand", "Slice",
    "Split", "Gather", "Concat", "MaxPool", "Relu", "Neg", "Abs", "Where", "Max", "Min", "Pad",
}  # fmt: skip


def emulate(typed: TypedOnnx) -> OnnxModel:
    """The model to run in ONNX Runtime, on the CPU, with optimizations off."""
    graph = Graph(typed.model)
    names = [*graph.inputs, *(name for node in graph.nodes for name in (*node.input, *node.output))]
    types = {name: graph.dtype(name) for name in names if graph.dtype(name) in _LOW}
    if not types:
        return typed.model
    # Inputs and outputs of the model keep their types: nodes work on FP32 forms of them.
    wide: dict[str, str] = {}
    nodes = []
    for name in graph.inputs:
        if name in types:
            wide[name] = graph.fresh(f"{name}/wide")
            nodes.append(graph.make_node("Cast", [name], wide[name], FLOAT, to=FLOAT))
    for node in graph.nodes:
        for index, name in enumerate(node.input):
            if name in types and graph.is_constant(name):
                wide.setdefault(name, _widened(graph, name))
            node.input[index] = wide.get(name, name)
        nodes += _rounded(graph, node, types, wide)
    graph.nodes = nodes
    graph.refresh()
    return graph.finish()


def _widened(graph: Graph, name: str) -> str:
    value = graph.constant(name)
    assert value is not None
    return graph.add_constant(f"{name}/wide", value.astype(np.float32))


def _rounded(
    graph: Graph, node: NodeProto, types: dict[str, int], wide: dict[str, str]
) -> list[NodeProto]:
    """A node with its low outputs computed in FP32, and the casts that round them."""
    if node.op_type == "Cast" and attribute(node, "to") in _LOW:
        set_attribute(node, "to", FLOAT)
    if node.op_type == "ConstantOfShape" and node.output[0] in types:
        value = onnx.numpy_helper.to_array(attribute(node, "value"))
        set_attribute(node, "value", onnx.numpy_helper.from_array(value.astype(np.float32)))
    casts = []
    for index, name in enumerate(node.output):
        border = name in graph.outputs
        if name not in types or (node.op_type in _MOVERS and not border):
            continue
        node.output[index] = graph.fresh(f"{name}/raw")
        low = name if border else graph.fresh(f"{name}/low")
        if border:
            wide[name] = graph.fresh(f"{name}/wide")
        casts += [
            graph.make_node("Cast", [node.output[index]], low, types[name], to=types[name]),
            graph.make_node("Cast", [low], wide.get(name, name), FLOAT, to=FLOAT),
        ]
    return [node, *casts]
