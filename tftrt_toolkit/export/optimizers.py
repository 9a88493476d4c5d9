"""tf2onnx's graph optimizers: those that help, made repeatable, and skipped where they fail."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

# The others change nothing here, or harm: einsum_optimizer makes five nodes of one Einsum.
NAMES = (
    "optimize_transpose",
    "fold_constants",
    "merge_duplication",
    "remove_identity",
    "remove_back_to_back",
)
MAX_ROUNDS = 20  # far more than any graph was seen to need


class OptimizerError(Exception):
    """An optimizer raised and left the graph half changed; the message is the optimizer's name."""


def optimize(graph: Any, skipped: Collection[str]) -> Any:
    """Run the optimizers on tf2onnx's graph, in place, until none finds anything to do.

    Unlike tf2onnx's loop, no copies are made, nodes' protos aren't written between optimizers, and
    nothing is counted: that takes most of the time and memory of a large graph. So after an
    OptimizerError the graph must be mapped anew, and that optimizer skipped.
    """
    factories = _factories()
    for round_index in range(MAX_ROUNDS):
        changed = False
        for name in NAMES:
            if name in skipped:
                continue
            optimizer = factories[name]()
            try:
                optimizer.opt_iteration = round_index
                graph = optimizer._optimize(graph)
                graph.delete_unused_nodes(graph.outputs)
            except Exception as error:  # whatever an unforeseen graph makes it raise
                raise OptimizerError(name) from error
            changed = changed or optimizer.graph_been_opt
        if not changed:
            break
    graph.topological_sort(graph.get_nodes())
    return graph


@functools.cache
def _factories() -> Mapping[str, Callable[[], Any]]:
    from tf2onnx.optimizer import _get_optimizers

    stock = dict(_get_optimizers()) | {"optimize_transpose": _transpose_optimizer()}
    return {name: _by_name(stock[name]) for name in NAMES}


def _transpose_optimizer() -> type:
    from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer, is_useless_transpose

    class Transposes(TransposeOptimizer):
        """Leaves a scalar that is added to a convolution alone, where the original raises.

        Where a transpose could be moved, the original looks at all of them from the first one on:
        a time that grows with the square of their number. This one goes on with the next.
        """

        def _add_handler(self, trans: Any, node: Any) -> bool:
            if node.inputs[1].is_const() and not self._g.get_shape(node.input[1]):
                return self._handle_node_having_branches(trans, node)
            return super()._add_handler(trans, node)

        def _optimize_at_current_graph_level(self, graph: Any) -> Any:
            self._g = graph
            self.pre_optimize_action()
            while self._pass():
                pass
            self.merge_duplicated_transposes()
            self.post_optimize_action()
            return graph

        def _pass(self) -> bool:
            """Handle each transpose once; whether any was moved or removed."""
            changed = False
            for node in [one for one in self.nodes if one.type == "Transpose"]:
                if self._is_gone(node):  # handling one removes others
                    continue
                if self._handle_nhwc_tranpose(node):
                    changed = self.graph_been_opt = True
                elif not self._is_gone(node) and is_useless_transpose(node):
                    self._remove_useless_tranpose(node)
                    changed = True
            return changed

        def _is_gone(self, node: Any) -> bool:
            return self._g.get_node_by_name(node.name) is not node

    return Transposes


def _by_name(optimizer: type) -> type:
    """The optimizer, given its nodes sorted: which of two equal nodes survives must not vary."""

    class Sorted(optimizer):
        def _optimize_at_current_graph_level(self, graph: Any) -> Any:
            graph.reset_nodes(sorted(graph.get_nodes(), key=lambda node: node.name))
            return super()._optimize_at_current_graph_level(graph)

    return Sorted
