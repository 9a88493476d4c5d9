"""Freezes a live function: its graph inlined and folded, its large weights beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import FrozenFunction, FrozenGraph, TensorSpec, Weight
from tftrt_toolkit.freeze import grappler
from tftrt_toolkit.freeze.bodies import BodyCall, argument_shapes, invariant_arguments
from tftrt_toolkit.freeze.effects import assigned_arguments, needed_effects
from tftrt_toolkit.freeze.reads import ReadReplacer
from tftrt_toolkit.freeze.shapes import infer_tensors, set_argument_shapes
from tftrt_toolkit.freeze.weights import (
    Values,
    constant_array,
    has_array,
    lift_constants,
    lift_function_constants,
    lifted_weights,
    reveal,
)
from tftrt_toolkit.functions import (
    Draft,
    bodies_of,
    body_inputs,
    functions_by_name,
    graph_of_function,
    opaque_functions,
    reachable_functions,
)
from tftrt_toolkit.graph import node_of, topological
from tftrt_toolkit.protos import copied


def freeze_function(function: Any, name: str, keep_marked: bool = False) -> FrozenFunction:
    """Freeze a ConcreteFunction under the graph name `name`.

    keep_marked: calls of functions marked `_tftrt_convert_function` stay calls, and their bodies
    are graphs of their own. All other calls are inlined; While and If stay functional, each with
    frozen graphs of its bodies. Variables that the function only reads become weights, without a
    copy, or Consts if they are small and no float matrices; those that it assigns stay variables.
    Constants of more than 4096 elements become weights too. All arguments stay, in their order,
    needed or not. Marks for XLA compilation are dropped, for calls that carry them could not be
    inlined.

    Raises ModelError if a variable has no value or an op isn't registered.
    """
    arguments = tuple(tensor.op.name for tensor in function.inputs)
    captured = function.captured_inputs
    captures = dict(zip(arguments[len(arguments) - len(captured) :], captured, strict=True))
    draft = Draft(
        function.graph.as_graph_def(),
        arguments,
        tuple(tensor.name for tensor in function.outputs),
        tuple(operation.name for operation in function.graph.control_outputs),
    )
    freezer = _Freezer(draft, keep_marked)
    handles = {key: value for key, value in captures.items() if value.dtype == tf.resource}
    values = {
        key: freezer.values.tensor(value)
        for key, value in captures.items()
        if has_array(value.dtype)
    }
    grappler.inline(draft)
    graph = freezer.freeze(name, draft, _Known(handles, values))
    return FrozenFunction(graph, function, captures)


@dataclasses.dataclass(frozen=True)
class _Known:
    """What is known of a graph's arguments: variables' handles, tensors' values.

    assigned: handles of variables that a caller assigns, which therefore stay variables.
    """

    handles: Mapping[str, Any]
    values: Mapping[str, np.ndarray]
    assigned: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class _Freezer:
    """State shared by one function's graph and its bodies: library, lifted Consts, read values."""

    def __init__(self, draft: Draft, keep_marked: bool) -> None:
        """Lift large Consts out of the draft and its library before grappler copies them."""
        self.values = Values()
        self._lifted: dict[str, Any] = {}
        self._library = functions_by_name(draft.graph_def)
        functions = draft.graph_def.library.function
        lift_constants(draft.graph_def.node, self._lifted)
        grappler.prepare(draft.graph_def.node)
        grappler.prepare_functions(functions)
        if keep_marked:
            grappler.keep_marked_calls(draft.graph_def.node, functions)
        # Functions of which no graph is made (those of datasets, say) keep their Consts.
        kept = opaque_functions(draft.graph_def.node, self._library)
        for function in functions:
            if function.signature.name not in kept:
                lift_function_constants(function, self._lifted)
        self._body_names: set[str] = set()

    def freeze(self, name: str, draft: Draft, known: _Known, marked: bool = False) -> FrozenGraph:
        """Freeze an inlined draft."""
        self._adopt_functions(draft)
        known = self._mark_assigned(draft, known)
        draft.control_results = needed_effects(draft, self._library)
        weights = ReadReplacer(draft, known.handles, known.values, self.values).run()
        grappler.fold(draft)
        self._adopt_functions(draft)
        nodes = draft.graph_def.node
        lift_constants(nodes, self._lifted)
        weights |= lifted_weights(nodes, self._lifted)
        nodes = _needed(draft)
        weights = reveal(nodes, weights)
        grappler.restore(nodes)
        graph_def = tf.compat.v1.GraphDef()
        graph_def.versions.CopyFrom(draft.graph_def.versions)
        graph_def.node.extend(nodes)
        self._copy_functions(graph_def)
        tensors = infer_tensors(graph_def, {**known.handles, **known.assigned})
        sources = _Sources(nodes, weights, known)
        bodies = self._freeze_bodies(graph_def, tensors, sources, marked)
        self._copy_functions(graph_def)
        return FrozenGraph(
            name,
            graph_def,
            draft.arguments,
            draft.results,
            draft.control_results,
            weights,
            tensors,
            bodies,
            marked,
        )

    def _mark_assigned(self, draft: Draft, known: _Known) -> _Known:
        """Set apart the handles that this graph assigns."""
        names = assigned_arguments(draft, self._library)
        kept = {key: handle for key, handle in known.handles.items() if key not in names}
        assigned = {key: handle for key, handle in known.handles.items() if key in names}
        return _Known(kept, known.values, {**known.assigned, **assigned})

    def _adopt_functions(self, draft: Draft) -> None:
        """Take in functions that grappler made: versions of branches for one call."""
        for function in draft.graph_def.library.function:
            self._library.setdefault(function.signature.name, function)

    def _copy_functions(self, graph_def: Any) -> None:
        """Give a graph the library functions that its nodes name."""
        del graph_def.library.function[:]
        needed = reachable_functions(graph_def.node, self._library)
        graph_def.library.function.extend(needed.values())

    def _freeze_bodies(
        self,
        graph_def: Any,
        tensors: Mapping[str, TensorSpec],
        sources: _Sources,
        marked: bool,
    ) -> dict[str, FrozenGraph]:
        """Freeze the bodies of every call in a graph, each under a name of its own."""
        bodies = {}
        for node in graph_def.node:
            for function in bodies_of(node):
                original = function.name
                function.name = self._own_name(original)
                inputs = body_inputs(node)
                call = BodyCall(node, original, tuple(tensors[name] for name in inputs))
                known = tuple(sources.known(name) for name in inputs)
                bodies[function.name] = self._freeze_body(function.name, call, known, marked)
        return bodies

    def _freeze_body(
        self, name: str, call: BodyCall, known: tuple[Any, ...], marked: bool
    ) -> FrozenGraph:
        draft = graph_of_function(self._library[call.function], self._library)
        draft.graph_def.library.function.extend(
            reachable_functions(draft.graph_def.node, self._library).values()
        )
        grappler.inline(draft)
        fixed = invariant_arguments(call, self._library)
        groups: dict[str, dict[str, Any]] = {"handles": {}, "values": {}, "assigned": {}}
        for index, (argument, source) in enumerate(zip(draft.arguments, known, strict=True)):
            if index in fixed and source is not None:
                groups[source[0]][argument] = source[1]
        shapes = argument_shapes(call, fixed, self._library)
        set_argument_shapes(draft.graph_def, dict(zip(draft.arguments, shapes, strict=True)))
        marked = marked or grappler.is_marked(self._library[call.function])
        return self.freeze(name, draft, _Known(**groups), marked)

    def _own_name(self, original: str) -> str:
        """A library function of its own for one call, named as the original where that is free."""
        name, count = original, 0
        while name in self._body_names or (name != original and name in self._library):
            count += 1
            name = f"{original}_{count}"
        self._body_names.add(name)
        if name != original:
            copy = copied(self._library[original])
            copy.signature.name = name
            self._library[name] = copy
        return name


class _Sources:
    """Finds out what is known of a tensor in a frozen graph."""

    def __init__(self, nodes: Any, weights: Mapping[str, Weight], known: _Known) -> None:
        """Index the graph's nodes."""
        self._nodes = {node.name: node for node in nodes}
        self._weights = weights
        self._known = known

    def known(self, tensor: str) -> tuple[str, Any] | None:
        """The field of `_Known` that a tensor belongs to and its value there, or None."""
        node = self._nodes[node_of(tensor)]
        while node.op == "Identity":
            node = self._nodes[node_of(node.input[0])]
        if node.name in self._known.handles:
            return "handles", self._known.handles[node.name]
        if node.name in self._known.assigned:
            return "assigned", self._known.assigned[node.name]
        if node.name in self._weights:
            return "values", self._weights[node.name].value
        if node.op == "Const" and has_array(tf.as_dtype(node.attr["dtype"].type)):
            return "values", constant_array(node.attr["value"].tensor)
        return None


def _needed(draft: Draft) -> list[Any]:
    """Nodes that results and side effects need, and all arguments, in topological order."""
    nodes = {node.name: node for node in draft.graph_def.node}
    waiting = [node_of(name) for name in (*draft.results, *draft.control_results)]
    needed = set(draft.arguments)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(node_of(source) for source in nodes[name].input)
    return topological(node for node in draft.graph_def.node if node.name in needed)
