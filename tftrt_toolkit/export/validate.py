"""What must hold of a mapped graph before anything trusts it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx
import tensorflow as tf

from tftrt_toolkit.artifacts import FrozenGraph, Segment
from tftrt_toolkit.export.mapping import OPSET, MappingError

# tf2onnx takes bfloat16 for float16 without a word, and ONNX has no operators on the others.
UNMAPPED_DTYPES = frozenset({tf.bfloat16, tf.string, tf.resource, tf.variant})
# Inside a segment tf2onnx maps pairs such as RFFT and ComplexAbs; such a tensor can't cross.
INNER_DTYPES = frozenset({tf.complex64, tf.complex128})


def check_dtypes(graph: FrozenGraph, segment: Segment) -> None:
    """Raise MappingError for a tensor whose dtype or rank can't be declared in ONNX."""
    for spec in (*segment.inputs, *segment.outputs):
        if spec.dtype in UNMAPPED_DTYPES | INNER_DTYPES:
            raise MappingError([spec.name.partition(":")[0]], f"{spec.name} is {spec.dtype.name}")
        if spec.shape.rank is None:
            raise MappingError([spec.name.partition(":")[0]], f"the rank of {spec.name} is unknown")
    for name in segment.nodes:
        first = graph.tensors.get(f"{name}:0")
        if first is not None and first.dtype in UNMAPPED_DTYPES:
            raise MappingError([name], f"{first.name} is {first.dtype.name}")


def validate(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Check ops, attributes, dtypes and shapes; returns the model with inferred shapes.

    `proto` has its weights as inputs, so that the checker needs no file. Raises MappingError:
    tf2onnx leaves an op that it can't map in the graph, and maps some to ops that don't exist.
    """
    unknown = [node for node in _all_nodes(proto.graph) if not _exists(node)]
    if unknown:
        types = ", ".join(sorted({node.op_type for node in unknown}))
        raise MappingError(
            [node.name for node in unknown], f"ONNX opset {OPSET} has no form of {types}"
        )
    del proto.opset_import[:]
    proto.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    try:
        onnx.checker.check_model(proto, full_check=True)
        return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        text = " ".join(str(error).split())
        raise MappingError(_names_in(text), f"tf2onnx wrote invalid ONNX: {text[:300]}") from error


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g)


def _exists(node: onnx.NodeProto) -> bool:
    if node.domain:
        return False
    return onnx.defs.has(node.op_type, OPSET)


def _names_in(message: str) -> list[str]:
    """Node names in the checker's messages, which write them in two ways."""
    pattern = r"(?:node name: |[Nn]ode ?\()([^\s):]+)"
    return re.findall(pattern, message)
