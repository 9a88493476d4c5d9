"""Lets a loaded model go once nobody refers to it any more.

TensorFlow's loader adds each function that holds a TRTEngineOp to the default graph, which lives as
long as its thread, and with the function its model's variables: its own comment calls it a leak.
Functions run without it, for those that call them refer to them too.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.python.saved_model import function_deserialization


def let_models_go() -> None:
    """Have TensorFlow's loader, from now on, leave no functions behind in the default graph."""
    load = function_deserialization.load_function_def_library

    @functools.wraps(load)
    def load_and_forget(*args: Any, **kwargs: Any) -> Any:
        functions = load(*args, **kwargs)
        if tf.executing_eagerly():  # else they belong to the graph that is being built
            _forget(ops.get_default_graph(), [function.name for function in functions.values()])
        return functions

    function_deserialization.load_function_def_library = load_and_forget


def _forget(graph: Any, names: list[str]) -> None:
    for name in names:
        if graph._is_function(name):
            graph._remove_function(name)
