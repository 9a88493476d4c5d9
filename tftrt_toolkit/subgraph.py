"""A segment as a TensorFlow graph of its own, without its weights' bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import FrozenGraph, Segment, TensorSpec
from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.graph import is_control, node_of, tensor_of


@dataclasses.dataclass(frozen=True)
class Subgraph:
    """A segment's nodes in a clean `tf.Graph`; inputs and weights are placeholders.

    inputs, outputs: tensors in the segment's order.
    weights: weight node -> its placeholder.
    """

    graph: tf.Graph
    inputs: tuple[tf.Tensor, ...]
    outputs: tuple[tf.Tensor, ...]
    weights: Mapping[str, tf.Tensor]


def build_subgraph(graph: FrozenGraph, segment: Segment) -> Subgraph:
    """Import the nodes of `segment` into a graph whose tensors bear their names in `graph`.

    An input `a:1` comes from a placeholder of another name, since a placeholder has one output.
    Shapes that freezing inferred are kept. Raises InternalError if an input of a node is neither
    in the segment nor among its inputs.
    """
    inner = set(segment.nodes)
    placeholders = {spec.name: _placeholder_name(spec.name, inner) for spec in segment.inputs}
    graph_def = tf.compat.v1.GraphDef()
    graph_def.versions.CopyFrom(graph.graph_def.versions)
    for spec in segment.inputs:
        _add_placeholder(graph_def, placeholders[spec.name], spec)
    for node in graph.graph_def.node:
        if node.name in inner:
            _add_node(graph_def, node, inner, placeholders)
    subgraph = tf.Graph()
    with subgraph.as_default():
        tf.import_graph_def(graph_def, name="")
    _restore_shapes(subgraph, graph, segment)
    return Subgraph(
        graph=subgraph,
        inputs=tuple(
            subgraph.get_tensor_by_name(f"{placeholders[spec.name]}:0") for spec in segment.inputs
        ),
        outputs=tuple(subgraph.get_tensor_by_name(spec.name) for spec in segment.outputs),
        weights={name: subgraph.get_tensor_by_name(f"{name}:0") for name in segment.weights},
    )


def run_subgraph(
    subgraph: Subgraph,
    inputs: Sequence[np.ndarray],
    weights: Mapping[str, np.ndarray],
    tensors: Sequence[str],
) -> list[np.ndarray]:
    """Values of `tensors` (full names) as TensorFlow computes them on the CPU from `inputs`."""
    feeds = dict(zip(subgraph.inputs, inputs, strict=True))
    feeds |= {tensor: weights[name] for name, tensor in subgraph.weights.items()}
    # A GPU would compute float32 products in TF32, and grappler may fuse away what is fetched.
    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0})
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    with tf.compat.v1.Session(graph=subgraph.graph, config=config) as session:
        return session.run(list(tensors), feeds)


def _placeholder_name(tensor: str, taken: set[str]) -> str:
    """`a` for `a:0`, so that the tensor keeps its name; `a__1` and so on for other outputs."""
    node, _, index = tensor.partition(":")
    name = node if index == "0" else f"{node}__{index}"
    while name in taken:
        name += "_"
    return name


def _add_placeholder(graph_def: Any, name: str, spec: TensorSpec) -> None:
    node = graph_def.node.add(name=name, op="Placeholder")
    node.attr["dtype"].type = spec.dtype.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(spec.shape.as_proto())


def _add_node(graph_def: Any, node: Any, inner: set[str], placeholders: Mapping[str, str]) -> None:
    copy = graph_def.node.add()
    copy.CopyFrom(node)
    copy.device = ""
    # Colocation may name nodes outside; the other private attributes steer TensorFlow's runtime.
    for key in [key for key in copy.attr if key.startswith("_")]:
        del copy.attr[key]
    del copy.input[:]
    for name in node.input:
        if is_control(name):  # nothing in a segment has side effects
            continue
        if node_of(name) in inner:
            copy.input.append(name)
        elif tensor_of(name) in placeholders:
            copy.input.append(placeholders[tensor_of(name)])
        else:
            raise InternalError(f"node {node.name!r} takes {name!r}, which the segment lacks")


def _restore_shapes(subgraph: tf.Graph, graph: FrozenGraph, segment: Segment) -> None:
    for name in segment.nodes:
        for tensor in subgraph.get_operation_by_name(name).outputs:
            known = graph.tensors.get(tensor.name)
            if known is not None and not tensor.shape.is_fully_defined():
                tensor.set_shape(known.shape)
