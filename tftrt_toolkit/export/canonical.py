"""The same graph, in the same order and under the same names, whatever tf2onnx iterated over.

tf2onnx walks sets, so the order of nodes and the numbers in generated names differ from process to
process. Plans are cached by the bytes of their ONNX, so those must not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import onnx

from tftrt_toolkit.protos import copied

_COUNTER = re.compile(r"__\d+")


def canonicalize(graph: onnx.GraphProto) -> None:
    """Sort nodes depth-first from the outputs, and number generated names in that order.

    The names of the graph's inputs and outputs stay. Initializers are sorted by first use and named
    after the node that uses them first: `conv1/Pad__28` becomes `conv1/Pad`.
    """
    interface = {value.name for value in (*graph.input, *graph.output)}
    names = {name: name for name in interface}
    _canonicalize(graph, names, _Namer(interface), _Namer(()))


class _Namer:
    """Gives each name once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._last: dict[str, int] = {}

    def fresh(self, name: str) -> str:
        """`name` without tf2onnx's counters, numbered anew where that is taken."""
        base = fresh = _COUNTER.sub("", name)
        while fresh in self._taken:
            self._last[base] = self._last.get(base, 0) + 1
            fresh = f"{base}__{self._last[base]}"
        self._taken.add(fresh)
        return fresh


def _canonicalize(
    graph: onnx.GraphProto, names: dict[str, str], tensors: _Namer, nodes: _Namer
) -> None:
    """names: old tensor name -> new, of the scopes around, to which this scope's are added."""
    ordered = _depth_first(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    used = [tensor for tensor in graph.initializer if tensor.name in outputs]
    for node in ordered:
        node.name = nodes.fresh(node.name or node.op_type)
        for index, name in enumerate(_sources(node)):
            if name in constants and name not in names:
                names[name] = tensors.fresh(f"{node.name}/{index}")
                used.append(constants[name])
        for index, output in enumerate(node.output):
            if output and output not in names:
                names[output] = tensors.fresh(f"{node.name}:{index}")
        for body in _bodies(node):
            inner = dict(names)
            for value in body.input:
                inner[value.name] = tensors.fresh(value.name)
            _canonicalize(body, inner, tensors, nodes)
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for tensor in used:
        tensor.name = names.get(tensor.name, tensor.name)
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    copies = list(map(copied, ordered)), list(map(copied, used))
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(copies[0])
    graph.initializer.extend(copies[1])


def _depth_first(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that the outputs need, each behind its inputs."""
    producer = {name: node for node in graph.node for name in node.output if name}
    order: dict[int, onnx.NodeProto] = {}
    # Iterative, since graphs are deeper than Python's stack: a node is placed when it is met again.
    stack = [(value.name, False) for value in reversed(graph.output)]
    while stack:
        name, inputs_done = stack.pop()
        node = producer.get(name)
        if node is None or id(node) in order:
            continue
        if inputs_done:
            order[id(node)] = node
            continue
        stack.append((name, True))
        stack.extend((source, False) for source in reversed(list(_sources(node))))
    return list(order.values())


def _sources(node: onnx.NodeProto) -> Iterable[str]:
    """Tensors that a node takes, those that its bodies take from outside included."""
    yield from node.input
    for body in _bodies(node):
        for inner in body.node:
            yield from _sources(inner)
        yield from (value.name for value in body.output)


def _bodies(node: onnx.NodeProto) -> Iterable[onnx.GraphProto]:
    return (a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)
