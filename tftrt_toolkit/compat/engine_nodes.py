"""TRTEngineOp nodes of a GraphDef, as every TF-TRT wrote them, and the calls that replace them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.functions import VARIABLES_KEPT, called_functions, functions_by_name
from tftrt_toolkit.protos import copied

OP = "TRTEngineOp"
# How functions refer to the op's outputs, and to those of a call.
_ENGINE_OUTPUT, _CALL_OUTPUT = "out_tensor", "output"
# Only a TRTEngineOp's function may keep its int32 tensors on the GPU.
_INTS_ON_DEVICE = "experimental_ints_on_device"


@dataclasses.dataclass(frozen=True)
class EngineNode:
    """One engine of a model.

    node: the NodeDef itself, not a copy.
    function: name of its native function; "" if the model was saved without native segments.
    """

    node: Any
    function: str

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name


def engine_nodes(nodes: Iterable[Any]) -> Iterator[EngineNode]:
    """The engines among NodeDefs."""
    return (EngineNode(node, _native_name(node)) for node in nodes if node.op == OP)


def all_engine_nodes(graph_def: Any) -> list[EngineNode]:
    """The engines of a graph and of its functions."""
    found = list(engine_nodes(graph_def.node))
    for function in graph_def.library.function:
        found.extend(engine_nodes(function.node_def))
    return found


def _native_name(node: Any) -> str:
    attr = node.attr
    if "segment_func" in attr and attr["segment_func"].func.name:
        return attr["segment_func"].func.name
    # TensorFlow 1.13 and 1.14 named the function here; ours names the resource ("...@...").
    old = (
        attr["segment_funcdef_name"].s.decode(errors="replace")
        if ("segment_funcdef_name" in attr)
        else ""
    )
    return "" if "@" in old else old


def require_native(engines: Iterable[EngineNode], library: Mapping[str, Any]) -> None:
    """Raise ModelError unless each engine's native function is there, with its dtypes."""
    for engine in engines:
        if not engine.function:
            raise ModelError(
                f"engine {engine.name!r} has no native function: the model was saved with native "
                "segments removed, and its TensorRT engines hold no graph, so it can't be "
                "restored: convert the original model again"
            )
        function = library.get(engine.function)
        if function is None:
            raise ModelError(
                f"engine {engine.name!r} names the function {engine.function!r}, which isn't in "
                "the model: it is damaged, or its native segments were removed"
            )
        signature, attr = function.signature, engine.node.attr
        taken = [argument.type for argument in signature.input_arg]
        given = [argument.type for argument in signature.output_arg]
        wanted = list(attr["InT"].list.type)
        if VARIABLES_KEPT in attr:  # they aren't among its inputs
            wanted.extend([tf.resource.as_datatype_enum] * (len(taken) - len(wanted)))
        if taken != wanted or given != list(attr["OutT"].list.type):
            raise ModelError(
                f"engine {engine.name!r} and its function {engine.function!r} disagree about "
                "their inputs' or outputs' dtypes: the model is damaged"
            )


def replace_engines(graph_def: Any) -> None:
    """Make each engine of a graph and its functions a call of its native function, in place.

    TRTEngineOp_000_000: TRTEngineOp(x)[segment_func=F]  ->  PartitionedCall(x)[f=F]
    """
    library = functions_by_name(graph_def)
    natives = set()
    for engine in engine_nodes(graph_def.node):
        natives.add(engine.function)
        _become_call(engine, library)
    for function in graph_def.library.function:
        engines = list(engine_nodes(function.node_def))
        for engine in engines:
            natives.add(engine.function)
            _become_call(engine, library)
        _rename_outputs(function, {engine.name for engine in engines})
    for name in natives:
        library[name].attr.pop(_INTS_ON_DEVICE, None)


def _become_call(engine: EngineNode, library: Mapping[str, Any]) -> None:
    node = engine.node
    old = copied(node)
    node.attr.clear()
    node.op = (
        "StatefulPartitionedCall" if is_stateful(engine.function, library) else ("PartitionedCall")
    )
    node.attr["Tin"].CopyFrom(old.attr["InT"])
    node.attr["Tout"].CopyFrom(old.attr["OutT"])
    node.attr["f"].func.name = engine.function
    for name in ("config", "config_proto", "executor_type"):
        node.attr[name].s = b""
    if "_output_shapes" in old.attr:
        node.attr["_output_shapes"].CopyFrom(old.attr["_output_shapes"])


def is_stateful(name: str, library: Mapping[str, Any]) -> bool:
    """Whether a function reads or writes what outlives a call, itself or in what it calls."""
    seen, waiting = {name}, [name]
    while waiting:
        for node in library[waiting.pop()].node_def:
            definition = op_def_registry.get(node.op)
            if node.op not in library and (definition is None or definition.is_stateful):
                return True
            for called in callees(node, library):
                if called not in seen:
                    seen.add(called)
                    waiting.append(called)
    return False


def callees(node: Any, library: Mapping[str, Any]) -> list[str]:
    """Names of the library's functions that a node calls, each once."""
    names = [reference.name for reference in called_functions(node)]
    if node.op == OP:
        names.append(_native_name(node))
    if node.op in library:
        names.append(node.op)
    return [name for name in dict.fromkeys(names) if name in library]


def _rename_outputs(function: Any, engines: set[str]) -> None:
    """`engine:out_tensor:0` becomes `engine:output:0` wherever the function refers to it."""

    def renamed(name: str) -> str:
        parts = name.split(":")
        if parts[0] in engines and parts[1:2] == [_ENGINE_OUTPUT]:
            parts[1] = _CALL_OUTPUT
        return ":".join(parts)

    if not engines:
        return
    for node in function.node_def:
        node.input[:] = [renamed(name) for name in node.input]
    for result, name in list(function.ret.items()):
        function.ret[result] = renamed(name)
