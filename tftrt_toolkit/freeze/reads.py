"""Reads of variables, and captured tensors, become weights or Consts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import Weight
from tftrt_toolkit.freeze.weights import Values, folds, to_constant, to_stub
from tftrt_toolkit.functions import Draft
from tftrt_toolkit.graph import is_control, node_of, topological

_GATHERS = {"ResourceGather": "GatherV2", "ResourceGatherNd": "GatherNd"}


class ReadReplacer:
    """Replaces, in one graph, the reads of arguments whose values are known.

    handles: resource argument -> the variable's handle. values: tensor argument -> its array.
    After `run`, `weights` has the large ones, by the name of their stub.
    """

    def __init__(
        self,
        draft: Draft,
        handles: Mapping[str, Any],
        values: Mapping[str, np.ndarray],
        cache: Values,
    ) -> None:
        """Look at the graph; `run` edits it."""
        self._draft = draft
        self._handles = handles
        self._values = values
        self._cache = cache
        self._nodes = topological(draft.graph_def.node)
        self._names = {node.name for node in self._nodes}
        self._kept = {node_of(name) for name in (*draft.results, *draft.control_results)}
        self._rewired: dict[str, str] = {}
        self._made: dict[tuple[str, str], str] = {}  # (argument, device) -> its weight
        self._constants: set[str] = set()
        self.weights: dict[str, Weight] = {}

    def run(self) -> dict[str, Weight]:
        """Edit the draft in place; returns `weights`."""
        fresh: list[Any] = list(self._argument_nodes())
        aliases = {name: name for name in self._handles}
        for node in self._nodes:
            argument = aliases.get(node_of(node.input[0])) if node.input else None
            if argument is None:
                continue
            if node.op == "Identity":
                aliases[node.name] = argument
            elif node.op == "ReadVariableOp":
                self._replace_read(node, argument)
            elif node.op in _GATHERS:
                fresh.extend(self._replace_gather(node, argument))
        self._rewire(fresh)
        return self.weights

    def _argument_nodes(self) -> Iterator[Any]:
        """A node for each argument of known value, which then stands for it everywhere."""
        for argument, value in self._values.items():
            dtype = tf.as_dtype(value.dtype).as_datatype_enum
            node = tf.compat.v1.NodeDef(name=self._unique(f"{argument}/value"))
            reader = tf.compat.v1.NodeDef(name=node.name, op="Identity", input=[argument])
            reader.attr["T"].type = dtype
            self._replace(node, value, dtype, reader)
            self._rewired[argument] = node.name
            yield node

    def _replace_read(self, node: Any, argument: str) -> None:
        dtype = node.attr["dtype"].type
        made = self._made.get((argument, node.device))
        if made is not None and node.name not in self._kept:
            self._rewired[node.name] = made
            return
        reader = _reader(node.name, argument, dtype, node.device)
        self._replace(node, self._variable(argument, dtype), dtype, reader)
        self._made.setdefault((argument, node.device), node.name)

    def _replace_gather(self, node: Any, argument: str) -> Iterator[Any]:
        """Gather from a weight instead: ResourceGather has the axis as its batch_dims."""
        dtype, params = node.attr["dtype"].type, self._made.get((argument, node.device))
        if params is None:
            weight = tf.compat.v1.NodeDef(
                name=self._unique(f"{node.name}/params"), device=node.device
            )
            reader = _reader(weight.name, argument, dtype, node.device)
            self._replace(weight, self._variable(argument, dtype), dtype, reader)
            params = self._made[argument, node.device] = weight.name
            yield weight
        node.input[0] = params
        node.attr["Tparams"].type = dtype
        if node.op == "ResourceGather":
            axis = tf.compat.v1.NodeDef(name=self._unique(f"{node.name}/axis"), device=node.device)
            batch_dims = node.attr["batch_dims"].i
            to_constant(axis, np.asarray(batch_dims, np.int32), tf.int32.as_datatype_enum)
            node.input.insert(2, axis.name)
            node.attr["Taxis"].type = tf.int32.as_datatype_enum
            yield axis
        node.op = _GATHERS[node.op]
        for name in ("dtype", "validate_indices"):
            node.attr.pop(name, None)

    def _variable(self, argument: str, dtype: int) -> np.ndarray:
        return self._cache.variable(self._handles[argument], tf.as_dtype(dtype))

    def _replace(self, node: Any, value: np.ndarray, dtype: int, reader: Any) -> None:
        if folds(tf.TensorShape(value.shape), tf.as_dtype(dtype)):
            to_constant(node, value, dtype)
            self._constants.add(node.name)
        else:
            to_stub(node, value.shape, dtype)
            self.weights[node.name] = Weight(value, reader)

    def _rewire(self, fresh: list[Any]) -> None:
        """Point consumers at what replaced their inputs; constants need no control edges."""
        gone = self._rewired.keys() - set(self._values)
        sources = self._constants | self.weights.keys() | gone
        nodes = [node for node in self._nodes if node.name not in gone] + fresh
        for node in nodes:
            node.input[:] = [
                name if is_control(name) else self._source(name)
                for name in node.input
                if not (is_control(name) and node_of(name) in sources)
            ]
        graph_def = tf.compat.v1.GraphDef()
        graph_def.node.extend(nodes)
        graph_def.library.CopyFrom(self._draft.graph_def.library)
        graph_def.versions.CopyFrom(self._draft.graph_def.versions)
        self._draft.graph_def = graph_def

    def _source(self, name: str) -> str:
        return self._rewired.get(node_of(name), name)

    def _unique(self, wanted: str) -> str:
        name, count = wanted, 0
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name


def _reader(name: str, argument: str, dtype: int, device: str) -> Any:
    reader = tf.compat.v1.NodeDef(name=name, op="ReadVariableOp", input=[argument], device=device)
    reader.attr["dtype"].type = dtype
    return reader
