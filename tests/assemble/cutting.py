"""Cuts a segment out of a frozen graph by the names of its nodes, for the tests beside it."""

from collections import Counter

from tftrt_toolkit.artifacts import Segment
from tftrt_toolkit.graph import data_inputs, node_of


def cut(graph, wanted, name):
    """The Segment of all nodes of which `wanted(node)` holds, and the constants that they take."""
    nodes = {node.name: node for node in graph.graph_def.node}
    constants = {node for node in nodes if nodes[node].op == "Const"} | graph.weights.keys()
    computed = {node for node in nodes if node not in constants and wanted(nodes[node])}
    inside = computed | {
        node_of(source)
        for node in computed
        for source in data_inputs(nodes[node])
        if node_of(source) in constants
    }
    crossing = [
        (source, node.name in inside)
        for node in graph.graph_def.node
        for source in data_inputs(node)
        if (node.name in inside) != (node_of(source) in inside) and node_of(source) not in constants
    ]
    inputs = dict.fromkeys(source for source, enters in crossing if enters)
    outputs = dict.fromkeys(source for source, enters in crossing if not enters)
    outputs |= dict.fromkeys(result for result in graph.results if node_of(result) in inside)
    order = tuple(node for node in nodes if node in inside)
    return Segment(
        name=name,
        graph=graph.name,
        nodes=order,
        inputs=tuple(graph.tensors[source] for source in inputs),
        outputs=tuple(graph.tensors[source] for source in outputs),
        weights=tuple(node for node in order if node in graph.weights),
        control_inputs=(),
        op_counts=Counter(nodes[node].op for node in computed),
    )


def cut_ops(graph, ops, name):
    """The Segment of all nodes whose op is among `ops`."""
    return cut(graph, lambda node: node.op in ops, name)
