"""Rule: a dense layer that was written as Einsum becomes a MatMul.

    before   y = Einsum<"abc,cde->abde">(x, w)
    after    m = MatMul(x, w2)   y = Reshape(m, [0, 0, D, E])          w2 is w as [C, D * E]

Keras writes attention's projections so. Kernels and quantization rules know MatMul. Contracted
letters must end the first operand and start the weight; anything else stays an Einsum.
"""

from __future__ import annotations

import math
import re

import numpy as np
from onnx import NodeProto, TensorProto

from tftrt_toolkit.precision.graph import Graph, attribute


def rewrite_dense_einsums(graph: Graph) -> None:
    """Rewrite every Einsum of an activation and a constant weight that is a dense layer."""
    for node in [one for one in graph.nodes if one.op_type == "Einsum"]:
        _rewrite(graph, node)
    graph.refresh()


def _rewrite(graph: Graph, node: NodeProto) -> None:
    letters = _dense_letters(attribute(node, "equation").decode())
    weight = graph.constant(node.input[1]) if graph.is_constant(node.input[-1]) else None
    if letters is None or weight is None or weight.dtype != np.float32:
        return
    batch, contracted = letters
    depth = math.prod(weight.shape[: len(contracted)])
    if not batch or not depth or not weight.size:
        return
    x, output = node.input[0], node.output[0]
    nodes: list[NodeProto] = []
    if len(contracted) > 1:
        x = _reshape(graph, nodes, x, f"{output}/flat", len(batch), (depth,))
    # The reshaped weight is a view: no copy is made.
    flat = graph.add_constant(f"{node.input[1]}/matrix", weight.reshape(depth, -1))
    widths = weight.shape[len(contracted) :]
    product = output if len(widths) == 1 else graph.fresh(f"{output}/product")
    nodes.append(graph.make_node("MatMul", [x, flat], product, TensorProto.FLOAT))
    if product != output:
        _reshape(graph, nodes, product, output, len(batch), widths)
    graph.insert_after(node, *nodes)
    graph.remove([node])


def _dense_letters(equation: str) -> tuple[str, str] | None:
    """The letters that stay and those that are summed, of `BK,KN->BN`."""
    written = re.fullmatch(r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)", equation.replace(" ", ""))
    if written is None:
        return None
    first, second, result = written.groups()
    contracted = "".join(letter for letter in first if letter not in result)
    batch = first[: len(first) - len(contracted)]
    widths = second[len(contracted) :]
    fits = first == batch + contracted and second == contracted + widths and widths
    distinct = len(set(first + widths)) == len(first + widths)
    return (batch, contracted) if fits and distinct and result == batch + widths else None


def _reshape(
    graph: Graph,
    nodes: list[NodeProto],
    source: str,
    output: str,
    kept: int,
    sizes: tuple[int, ...],
) -> str:
    """A Reshape that keeps the first dimensions, whatever they are, and names the others."""
    shape = graph.add_constant(f"{output}/shape", np.array([0] * kept + list(sizes), np.int64))
    nodes.append(graph.make_node("Reshape", [source, shape], output, TensorProto.FLOAT))
    return output
