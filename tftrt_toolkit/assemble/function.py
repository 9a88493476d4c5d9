"""Puts a TRTEngineOp in the place of each segment, in a function and in the bodies it calls."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tftrt_toolkit.artifacts import (
    ConvertedFunction,
    EngineAttributes,
    FrozenFunction,
    FrozenGraph,
    Rounding,
    Segment,
)
from tftrt_toolkit.assemble.engine_node import engine_node
from tftrt_toolkit.assemble.live import function_like
from tftrt_toolkit.assemble.native import native_function
from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.functions import (
    Draft,
    called_functions,
    function_of_graph,
    functions_by_name,
    reachable_functions,
)
from tftrt_toolkit.graph import control_inputs, is_control, node_of, tensor_of, topological
from tftrt_toolkit.protos import copied


def assemble_function(
    frozen: FrozenFunction,
    segments: Mapping[str, Sequence[Segment]],
    attributes: EngineAttributes,
    roundings: Mapping[str, Rounding] | None = None,
) -> ConvertedFunction:
    """A live function in which each segment is a TRTEngineOp node.

    segments: graph name -> its segments, for the function's graph and for any of its bodies.
    roundings: segment name -> where its native function rounds; the others' are left as they are.
    The nodes' resources are named `<TRTEngineOp_000_000>@<id>` with an id of this call, and so are
    all functions, so that no two conversions collide. The function runs natively until engines
    are bound to its resources; the op library must be loaded (`runtime.load_ops`).
    """
    assembler = _Assembler(segments, attributes, roundings or {})
    draft = assembler.assemble(frozen.graph)
    name = f"converted_{frozen.graph.name}_{assembler.uid}"
    function = function_like(frozen.function, name, draft, frozen.captures)
    return ConvertedFunction(
        function, frozen.function, tuple(assembler.segments), dict(assembler.resources)
    )


class _Assembler:
    """One conversion: its id, the functions made so far, and the resources named so far."""

    def __init__(
        self,
        segments: Mapping[str, Sequence[Segment]],
        attributes: EngineAttributes,
        roundings: Mapping[str, Rounding],
    ) -> None:
        """Start with nothing assembled."""
        self.uid = secrets.token_hex(4)
        self.segments: list[Segment] = []
        self.resources: dict[str, str] = {}
        self._by_graph = segments
        self._attributes = attributes
        self._roundings = roundings
        self._made: dict[str, Any] = {}  # new functions by their name

    def assemble(self, graph: FrozenGraph) -> Draft:
        """The graph with engine nodes, its library complete."""
        library = functions_by_name(graph.graph_def)
        names = self._convert_bodies(graph, library)
        names |= self._adopt_others(graph, names, library)
        nodes = self._rewrite(graph, library, names)
        draft = Draft(type(graph.graph_def)(), graph.arguments, (), ())
        draft.graph_def.versions.CopyFrom(graph.graph_def.versions)
        draft.graph_def.node.extend(nodes)
        moved = self._moved_tensors(graph)
        draft.results = tuple(moved.get(result, result) for result in graph.results)
        owners = self._owners(graph)
        draft.control_results = tuple(
            dict.fromkeys(owners.get(name, name) for name in graph.control_results)
        )
        needed = _needed(draft)
        del draft.graph_def.node[:]
        draft.graph_def.node.extend(needed)
        reachable = reachable_functions(draft.graph_def.node, self._made)
        draft.graph_def.library.function.extend(reachable.values())
        return draft

    def _rewrite(
        self, graph: FrozenGraph, library: Mapping[str, Any], names: Mapping[str, str]
    ) -> list[Any]:
        """Nodes outside of segments, readers in the place of weights, and engine nodes."""
        owners, moved = self._owners(graph), self._moved_tensors(graph)
        nodes = []
        for node in graph.graph_def.node:
            if node.name not in owners:
                weight = graph.weights.get(node.name)
                nodes.append(copied(weight.reader if weight else node))
        for segment in self._by_graph.get(graph.name, ()):
            nodes.append(self._engine(graph, segment, library, names))
        for node in nodes:
            node.input[:] = list(_moved_inputs(node, owners, moved))
        rename_calls(nodes, names)
        return nodes

    def _engine(
        self,
        graph: FrozenGraph,
        segment: Segment,
        library: Mapping[str, Any],
        names: Mapping[str, str],
    ) -> Any:
        base = segment.name.rpartition("/")[2]
        resource = f"{base}@{self.uid}"
        if resource in self.resources.values():
            raise InternalError(f"two segments are named {base!r}")
        self.segments.append(segment)
        self.resources[segment.name] = resource
        name = f"{segment.name}_{self.uid}_native_segment"
        rounding = self._roundings.get(segment.name)
        function = native_function(graph, segment, name, library, rounding)
        rename_calls(function.node_def, names)
        self._made[name] = function
        return engine_node(graph, segment, function, resource, self._attributes)

    def _convert_bodies(self, graph: FrozenGraph, library: Mapping[str, Any]) -> dict[str, str]:
        """Make the functions of this graph's bodies; old name -> new name."""
        renamed = {}
        for body in graph.bodies.values():
            draft = self.assemble(body)
            renamed[body.name] = name = f"{body.name}_{self.uid}"
            inner = [node for node in draft.graph_def.node if node.name not in draft.arguments]
            self._made[name] = function_of_graph(
                name, inner, draft, self._made, library[body.name].signature
            )
        return renamed

    def _adopt_others(
        self, graph: FrozenGraph, bodies: Mapping[str, str], library: Mapping[str, Any]
    ) -> dict[str, str]:
        """Copy functions called that aren't bodies; old name -> new name.

        The name is new because inlining may have changed a function that TensorFlow knows already.
        """
        roots = {
            name
            for node in graph.graph_def.node
            for name in (node.op, *(function.name for function in called_functions(node)))
            if name in library and name not in bodies
        }
        inner = (node for name in roots for node in library[name].node_def)
        found = roots | reachable_functions(inner, library).keys()
        names = {name: f"{name}_{self.uid}_kept" for name in found}
        for name, new_name in names.items():
            copy = copied(library[name])
            copy.signature.name = new_name
            rename_calls(copy.node_def, names)
            self._made[new_name] = copy
        return names

    def _owners(self, graph: FrozenGraph) -> dict[str, str]:
        """Node that only an engine computes from now on -> that engine's node.

        Consts, weights and what is copied aren't among them: whoever needs them has its own.
        """
        owners = {
            node: segment.name
            for segment in self._by_graph.get(graph.name, ())
            for node in set(segment.nodes).difference(segment.copies, segment.weights)
        }
        for node in graph.graph_def.node:
            if node.op == "Const":
                owners.pop(node.name, None)
        return owners

    def _moved_tensors(self, graph: FrozenGraph) -> dict[str, str]:
        """Tensor that an engine yields -> its name as the engine's output."""
        return {
            output.name: f"{segment.name}:{index}"
            for segment in self._by_graph.get(graph.name, ())
            for index, output in enumerate(segment.outputs)
        }


def _moved_inputs(node: Any, owners: Mapping[str, str], moved: Mapping[str, str]) -> Iterator[str]:
    """Inputs of a node, those that engines took over renamed; control inputs last, each once."""
    for name in node.input:
        if is_control(name):
            continue
        tensor = tensor_of(name)
        yield moved.get(tensor, tensor)
    yield from dict.fromkeys(f"^{owners.get(name, name)}" for name in control_inputs(node))


def rename_calls(nodes: Sequence[Any], names: Mapping[str, str]) -> None:
    """Point nodes at functions under their new names, in place."""
    for node in nodes:
        node.op = names.get(node.op, node.op)
        for function in called_functions(node):
            function.name = names.get(function.name, function.name)


def _needed(draft: Draft) -> list[Any]:
    """Arguments, and what results and effects need.

    Raises InternalError on a cycle of engines, and where a tensor is needed that a segment keeps.
    """
    nodes = {node.name: node for node in draft.graph_def.node}
    needed = set(draft.arguments)
    waiting = [node_of(name) for name in (*draft.results, *draft.control_results)]
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        if name not in nodes:
            raise InternalError(f"a tensor of {name!r} is needed, which a segment keeps")
        needed.add(name)
        waiting.extend(node_of(source) for source in nodes[name].input)
    return [copied(node) for node in topological(draft.graph_def.node) if node.name in needed]
