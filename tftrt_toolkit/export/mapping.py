"""tf2onnx's op mapping, with our handlers over its own, its log kept low and its blame kept.

The only module that drives tf2onnx. tf2onnx keeps its state in globals, so one graph is mapped at
a time, and every global that is touched here is put back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import onnx
import tensorflow as tf

from tftrt_toolkit.export.handlers import HANDLED_OPS, REFUSED_OPS, find_handler
from tftrt_toolkit.export.handlers.registry import Unmappable
from tftrt_toolkit.export.optimizers import OptimizerError, optimize

OPSET = 18  # the most that tf2onnx 1.17 writes
logger = logging.getLogger(__name__)
_lock = threading.RLock()


class MappingError(Exception):
    """No mapping: `nodes` are the graph's nodes at fault, the message is a sentence on why."""

    def __init__(self, nodes: Sequence[str], reason: str) -> None:
        """Keep the nodes beside the reason."""
        super().__init__(reason)
        self.nodes = tuple(nodes)


@dataclasses.dataclass
class _Failures:
    """Nodes whose handler raised."""

    nodes: list[str] = dataclasses.field(default_factory=list)
    reasons: list[str] = dataclasses.field(default_factory=list)


def map_graph(graph: tf.Graph, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """Map a TensorFlow graph's ops to ONNX and simplify the result.

    inputs: placeholders' tensors, weights included. Raises MappingError. Ops that tf2onnx knows no
    mapping for are left in the result under their TensorFlow type.
    """
    failures = _Failures()
    skipped: set[str] = set()
    with _lock, _quiet(), _handlers(failures), graph.as_default():
        while True:
            try:
                mapped = optimize(_map(graph, inputs, outputs), skipped)
                return mapped.make_model("", graph_name="segment")
            except OptimizerError as error:
                logger.debug("mapping again without %s: %s", error, _one_line(error.__cause__))
                skipped.add(str(error))
            except Exception as error:  # tf2onnx raises whatever its handlers meet
                if failures.nodes:
                    raise MappingError(failures.nodes, "; ".join(failures.reasons[:3])) from error
                raise MappingError((), f"tf2onnx failed: {_one_line(error)}") from error


def _map(graph: tf.Graph, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    import tf2onnx.tfonnx
    import tf2onnx.utils

    tf2onnx.utils.INTERNAL_NAME = 1  # so that names don't depend on earlier exports
    return tf2onnx.tfonnx.process_tf_graph(
        graph, opset=OPSET, input_names=list(inputs), output_names=list(outputs)
    )


@contextlib.contextmanager
def _handlers(failures: _Failures) -> Iterator[None]:
    """Register our mappings, and a guard around every one that notes failures; undo it after."""
    import tf2onnx.tfonnx  # noqa: F401  (fills the registry)
    from tf2onnx.constants import ONNX_DOMAIN
    from tf2onnx.handler import tf_op

    stock = tf_op.create_mapping(OPSET, None)
    newest = tf_op.get_opsets()[ONNX_DOMAIN]
    before = [dict(handlers) for handlers in newest]
    for op_type in stock.keys() | HANDLED_OPS | REFUSED_OPS:
        handler, options = find_handler(op_type, stock)
        tf_op.register_handler(_guarded(handler, failures), OPSET, [op_type], ONNX_DOMAIN, options)
    try:
        yield
    finally:
        newest[:] = before


def _guarded(handler: Callable, failures: _Failures) -> Callable:
    def run(ctx: Any, node: Any, **options: Any) -> None:
        op_type, name = node.type, node.name
        try:
            handler(ctx, node, **options)
        except Exception as error:
            failures.nodes.append(name)
            words = str(error) if isinstance(error, Unmappable) else _one_line(error)
            failures.reasons.append(f"{op_type} {name!r}: {words}")
            raise

    return run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what tf2onnx logs to our logger, as debug messages."""
    source = logging.getLogger("tf2onnx")
    relay = _Relay()
    before = source.handlers[:], source.propagate, source.level
    source.handlers[:], source.propagate = [relay], False
    source.setLevel(logging.DEBUG if logger.isEnabledFor(logging.DEBUG) else logging.CRITICAL)
    try:
        yield
    finally:
        source.handlers[:], source.propagate = before[:2]
        source.setLevel(before[2])


class _Relay(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logger.debug("tf2onnx: %s", record.getMessage())


def _one_line(error: BaseException | None) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
