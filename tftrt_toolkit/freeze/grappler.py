"""The two grappler passes: inlining, and constant folding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.grappler import tf_optimizer

from tftrt_toolkit.functions import Draft

MARK = "_tftrt_convert_function"
XLA = "_XlaMustCompile"
LOWERING = "_lower_using_switch_merge"
_KEPT_LOWERING = "_tftrt_lower_using_switch_merge"


def prepare(nodes: Sequence[Any]) -> None:
    """Edit nodes so that grappler inlines calls and leaves While and If functional.

    Lowering to Switch and Merge is put off by renaming the attribute that asks for it, which
    `restore` brings back. Calls that XLA should compile are not inlined, so that mark goes:
    an engine can't be inside an XLA cluster. Colocation constraints go too, because they may name
    nodes that an engine swallows; explicit devices stay.
    """
    for node in nodes:
        if LOWERING in node.attr:
            node.attr[_KEPT_LOWERING].CopyFrom(node.attr[LOWERING])
            del node.attr[LOWERING]
        for name in ("_class", XLA):
            if name in node.attr:
                del node.attr[name]


def restore(nodes: Sequence[Any]) -> None:
    """Bring back the lowering attributes that `prepare` renamed; take off what kept calls."""
    for node in nodes:
        if _KEPT_LOWERING in node.attr:
            node.attr[LOWERING].CopyFrom(node.attr[_KEPT_LOWERING])
            del node.attr[_KEPT_LOWERING]
        if XLA in node.attr:
            del node.attr[XLA]


def is_marked(function: Any) -> bool:
    """Whether a FunctionDef bears stock TF-TRT's mark of functions to convert."""
    return MARK in function.attr and function.attr[MARK].b


def keep_marked_calls(nodes: Sequence[Any], functions: Sequence[Any]) -> None:
    """Keep grappler from inlining calls of marked functions, in `nodes` and in other functions.

    Aggressive inlining heeds XLA's mark alone; `restore` takes it off again.
    """
    marked = {function.signature.name for function in functions if is_marked(function)}
    for group in (nodes, *(function.node_def for function in functions)):
        for node in group:
            if node.op.endswith("PartitionedCall") and node.attr["f"].func.name in marked:
                node.attr[XLA].b = True


def prepare_functions(functions: Sequence[Any]) -> None:
    """`prepare` for library functions, without the marks that keep a function from being inlined.

    `api_implements` lets grappler swap a function for another device's version of it (Keras 2's
    LSTM does that) and forbids to inline it.
    """
    for function in functions:
        prepare(function.node_def)
        for name in ("api_implements", XLA):
            if name in function.attr:
                del function.attr[name]


def inline(draft: Draft) -> None:
    """Replace calls by the bodies of their functions, in place; names become `call/node`."""
    if any(node.op.endswith("PartitionedCall") for node in draft.graph_def.node):
        _optimize(draft, ("function",))


def fold(draft: Draft) -> None:
    """Fold constants and drop dead control dependencies and identities, in place."""
    _optimize(draft, ("constfold", "dependency"))


def _optimize(draft: Draft, optimizers: Sequence[str]) -> None:
    config = config_pb2.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.min_graph_nodes = -1
    rewrites.optimizers[:] = optimizers
    rewrites.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.TWO
    rewrites.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    # Aggressive folding trusts the shapes of arguments, which TensorFlow checks at every call.
    rewrites.constant_folding = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    # Fake-quantization nodes carry ranges that the precision stage reads.
    rewrites.experimental_disable_folding_quantization_emulation = True
    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.graph_def.CopyFrom(draft.graph_def)
    kept = [*draft.arguments, *draft.results, *draft.control_results]
    meta_graph.collection_def["train_op"].node_list.value.extend(kept)
    draft.graph_def = tf_optimizer.OptimizeGraph(config, meta_graph)
