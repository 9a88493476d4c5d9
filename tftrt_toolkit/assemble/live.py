"""Graphs become live ConcreteFunctions."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.eager.polymorphic_function import concrete_function
from tensorflow.python.framework import func_graph
from tensorflow.python.ops import handle_data_util

from tftrt_toolkit.functions import Draft


def import_graph(name: str, draft: Draft, captures: Mapping[str, Any]) -> Any:
    """A flat ConcreteFunction: takes the arguments without captures, returns the list of results.

    captures: argument -> eager tensor that it is bound to; they stand behind the other arguments.
    """
    return concrete_function.ConcreteFunction.from_func_graph(
        _graph_of(name, draft, captures), None, {}
    )


def function_like(original: Any, name: str, draft: Draft, captures: Mapping[str, Any]) -> Any:
    """A ConcreteFunction with the structured inputs, outputs, names and shapes of `original`."""
    graph = _graph_of(name, draft, captures)
    for made, tensor in zip(graph.outputs, original.graph.outputs, strict=True):
        made.set_shape(tensor.shape)
        if tensor.dtype == tf.resource:
            handle_data_util.copy_handle_data(tensor, made)
    graph.structured_input_signature = original.structured_input_signature
    outputs = iter(graph.outputs)
    graph.structured_outputs = tf.nest.map_structure(
        lambda tensor: None if tensor is None else next(outputs),  # a result may be None
        original.graph.structured_outputs,
        expand_composites=True,
    )
    graph.variables = original.graph.variables
    function = concrete_function.ConcreteFunction.from_func_graph(graph, original.function_type, {})
    # The flat signature, for functions (those of TF1 models) without a structured one.
    function._arg_keywords = original._arg_keywords
    function._num_positional_args = original._num_positional_args
    # The graph's variables are weak references: what the original belongs to must stay alive.
    function.original = original
    return function


def _graph_of(name: str, draft: Draft, captures: Mapping[str, Any]) -> Any:
    """A FuncGraph of a draft."""
    graph = func_graph.FuncGraph(name)
    with graph.as_default():
        _register(draft.graph_def.library.function, graph)
        tf.graph_util.import_graph_def(draft.graph_def, name="")
    for argument in draft.arguments:
        placeholder = graph.get_tensor_by_name(f"{argument}:0")
        if argument not in captures:
            graph.inputs.append(placeholder)
            continue
        captured = captures[argument]
        graph.add_capture(captured, placeholder)
        if captured.dtype == tf.resource:
            placeholder.set_shape([])
            handle_data_util.copy_handle_data(captured, placeholder)
    graph.outputs = [graph.get_tensor_by_name(result) for result in draft.results]
    graph.control_outputs = [graph.get_operation_by_name(op) for op in draft.control_results]
    return graph


def _register(functions: Any, graph: Any) -> None:
    """Make library functions known to eager execution for as long as `graph` lives."""
    eager = context.context()
    for function in functions:
        eager.add_function_def(function)
    names = [function.signature.name for function in functions]
    weakref.finalize(graph, _unregister, names).atexit = False


def _unregister(names: list[str]) -> None:
    for name in names:
        if context.context().has_function(name):
            context.context().remove_function(name)
