"""The registry of our mappings, and the pen that they write ONNX nodes with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

Handler = Callable[["Rewrite"], "str | Sequence[str] | None"]
HANDLERS: dict[str, Handler] = {}


def maps(*op_types: str) -> Callable[[Handler], Handler]:
    """Register a mapping of TensorFlow ops.

    The function gets a `Rewrite` and returns the tensors that take the place of the node's outputs,
    or None once it has left the node to `Rewrite.stock`. It raises `Unmappable` for attributes or
    inputs that it can't map.
    """

    def register(handler: Handler) -> Handler:
        for op_type in op_types:
            if op_type in HANDLERS:
                raise ValueError(f"{op_type} is mapped twice")
            HANDLERS[op_type] = handler
        return handler

    return register


class Unmappable(Exception):  # noqa: N818
    """This node's attributes or inputs have no ONNX form; the message is a sentence."""


class Rewrite:
    """Replaces one TensorFlow node in tf2onnx's graph."""

    def __init__(self, ctx: Any, node: Any, stock: Callable[[Any, Any], None] | None) -> None:
        """Take tf2onnx's Graph and Node, and its own mapping of the node where it has one."""
        self.ctx = ctx
        self.node = node
        self.inputs: list[str] = list(node.input)
        self._stock = stock

    def stock(self) -> None:
        """Map the node as tf2onnx does."""
        if self._stock is None:
            raise Unmappable(f"{self.node.type} of this form has no mapping")
        self._stock(self.ctx, self.node)

    def dtype(self, tensor: str) -> np.dtype:
        """A tensor's dtype."""
        return onnx.helper.tensor_dtype_to_np_dtype(self.ctx.get_dtype(tensor))

    def is_integer(self, tensor: str) -> bool:
        """Whether a tensor holds integers, of any width and sign."""
        return np.issubdtype(self.dtype(tensor), np.integer)

    def shape(self, tensor: str) -> list[int] | None:
        """A tensor's shape with -1 for unknown dimensions, None for an unknown rank."""
        return self.ctx.get_shape(tensor)

    def rank(self, tensor: str) -> int:
        """A tensor's rank; Unmappable where it is unknown."""
        shape = self.shape(tensor)
        if shape is None:
            raise Unmappable(f"the rank of {tensor} is unknown")
        return len(shape)

    def value(self, tensor: str) -> np.ndarray | None:
        """A constant's value, None for what is computed or a large weight."""
        producer = self.ctx.get_node_by_output(tensor)
        is_const = producer is not None and producer.is_const()
        return producer.get_tensor_value(as_list=False) if is_const else None

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the TensorFlow node; strings come as bytes."""
        return self.node.get_attr_value(name, default)

    def constant(self, value: Any, dtype: np.dtype | type) -> str:
        """A new constant of the graph."""
        from tf2onnx.utils import make_name

        return self.ctx.make_const(make_name("const"), np.asarray(value, dtype)).output[0]

    def like(self, value: Any, tensor: str) -> str:
        """A new constant of the same dtype as `tensor`."""
        return self.constant(value, self.dtype(tensor))

    def emit(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """A new ONNX node with one output, whose name is returned."""
        return self.emit_many(op_type, 1, *inputs, **attributes)[0]

    def emit_many(self, op_type: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """A new ONNX node with several outputs."""
        name = self._unique(f"{self.node.name}_{op_type}")
        return self.ctx.make_node(
            op_type, list(inputs), attr=attributes, name=name, output_count=count
        ).output

    def cast(self, tensor: str, dtype: np.dtype | type) -> str:
        """`tensor` as `dtype`."""
        if self.dtype(tensor) == np.dtype(dtype):
            return tensor
        return self.emit("Cast", tensor, to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def replace(self, results: Sequence[str]) -> None:
        """Let `results` take the place of the node's outputs."""
        outputs = list(self.node.output)
        shapes, dtypes = self.node.output_shapes, self.node.output_dtypes
        self.ctx.remove_node(self.node.name)
        for result, output, shape, dtype in zip(results, outputs, shapes, dtypes, strict=True):
            self.ctx.make_node(
                "Identity",
                [result],
                outputs=[output],
                shapes=[shape],
                dtypes=[dtype],
                name=self._unique(f"{self.node.name}_Identity"),
            )

    def _unique(self, name: str) -> str:
        from tf2onnx.utils import make_name

        return make_name(name)


def find_handler(op_type: str, stock: Mapping[str, tuple[Callable, dict]]) -> tuple[Callable, dict]:
    """tf2onnx's entry for an op: function and options. Ours, else tf2onnx's own from `stock`."""
    if op_type not in HANDLERS:
        return stock[op_type]
    handler = HANDLERS[op_type]
    fallback = _stock_call(op_type, *stock[op_type]) if op_type in stock else None

    def run(ctx: Any, node: Any, **_: Any) -> None:
        rewrite = Rewrite(ctx, node, fallback)
        results = handler(rewrite)
        if results is not None:
            rewrite.replace([results] if isinstance(results, str) else results)

    return run, {}


def _stock_call(op_type: str, function: Callable, options: dict) -> Callable[[Any, Any], None]:
    """tf2onnx's own mapping of an op, called as its mapping loop would call it."""

    def run(ctx: Any, node: Any) -> None:
        arguments = dict(options)
        if "onnx_op" in arguments:
            arguments["tf_op"] = op_type
            node.type = arguments["onnx_op"]
        function(ctx, node, **arguments, initialized_tables={}, dequantize=False)

    return run
