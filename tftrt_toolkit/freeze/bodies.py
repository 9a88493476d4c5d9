"""What a call site says about the arguments of a While, If, Case or call body."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tftrt_toolkit.artifacts import TensorSpec
from tftrt_toolkit.freeze.shapes import infer_tensors, join, set_argument_shapes
from tftrt_toolkit.functions import Draft, graph_of_function, reachable_functions
from tftrt_toolkit.graph import node_of

_LOOPS = ("While", "StatelessWhile")
# A loop's shapes settle after few rounds; one that hasn't by then gets its declared shapes.
_ROUNDS = 4


@dataclasses.dataclass(frozen=True)
class BodyCall:
    """One body of one node: `function` names the library function, `inputs` what it is handed."""

    node: Any
    function: str
    inputs: tuple[TensorSpec, ...]


def invariant_arguments(call: BodyCall, library: Mapping[str, Any]) -> set[int]:
    """Arguments that have, whenever the body runs, the value that the call site hands over.

    For a loop those are the variables that its body returns as it got them.
    """
    if call.node.op not in _LOOPS:
        return set(range(len(call.inputs)))
    draft = graph_of_function(library[call.node.attr["body"].func.name], library)
    nodes = {node.name: node for node in draft.graph_def.node}
    fixed = set()
    for index, (argument, result) in enumerate(zip(draft.arguments, draft.results, strict=True)):
        node = nodes[node_of(result)]
        while node.op == "Identity":
            node = nodes[node_of(node.input[0])]
        if node.name == argument:
            fixed.add(index)
    return fixed


def argument_shapes(
    call: BodyCall, fixed: set[int], library: Mapping[str, Any]
) -> list[tf.TensorShape]:
    """Shapes that a body's arguments have whenever it runs.

    A loop's variables start with the call site's shapes and are widened until the body keeps them.
    """
    shapes = [spec.shape for spec in call.inputs]
    if call.node.op not in _LOOPS:
        return shapes
    declared = [
        shape if index in fixed else tf.TensorShape(proto)
        for index, (shape, proto) in enumerate(
            zip(shapes, call.node.attr["output_shapes"].list.shape, strict=False)
        )
    ] or [tf.TensorShape(None)] * len(shapes)
    if all(map(_same, shapes, declared)):
        return declared
    body = graph_of_function(library[call.node.attr["body"].func.name], library)
    body.graph_def.library.function.extend(
        reachable_functions(body.graph_def.node, library).values()
    )
    for _ in range(_ROUNDS):
        widened = [join(*pair) for pair in zip(shapes, _result_shapes(body, shapes), strict=True)]
        if all(map(_same, shapes, widened)):
            return shapes
        shapes = widened
    return declared


def _result_shapes(body: Draft, shapes: list[tf.TensorShape]) -> list[tf.TensorShape]:
    set_argument_shapes(body.graph_def, dict(zip(body.arguments, shapes, strict=True)))
    tensors = infer_tensors(body.graph_def, {})
    return [tensors[result].shape for result in body.results]


def _same(first: tf.TensorShape, second: tf.TensorShape) -> bool:
    """Whether two shapes are equal, with unknown dimensions equal to each other."""
    return first.as_proto() == second.as_proto()
