"""Graphs of whole numbers."""

import pytest
import tensorflow as tf

from tests.graphs import trace
from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.segment.dag import Dag, contract, dag_of_graph, without_idle
from tftrt_toolkit.values import value_kinds


def test_an_edge_listed_twice_counts_once():
    dag = Dag.from_predecessors([[], [0, 0]])
    assert dag.successors == [[1], []]


def test_an_edge_may_not_run_backwards():
    with pytest.raises(InternalError, match="vertex 0 stands before its input 1"):
        Dag.from_predecessors([[1], []])


def test_contract():
    dag = Dag.from_predecessors([[], [0], [1], [0, 2]])
    small, member = contract(dag, ["a", "a", "b", "c"])
    assert small.predecessors == [[], [0], [0, 1]]
    assert member == [0, 0, 1, 2]


def test_contract_refuses_to_close_a_cycle():
    dag = Dag.from_predecessors([[], [0], [1]])
    with pytest.raises(InternalError, match="closed a cycle"):
        contract(dag, ["a", "b", "a"])


def test_idle_vertices_go():
    # 0 -> 1 -> 2 -> 3 -> 4, marked: 1 and 3
    dag = Dag.from_predecessors([[], [0], [1], [2], [3]])
    small, original = without_idle(dag, [False, True, False, True, False])
    assert original == [1, 2, 3]
    assert small.predecessors == [[], [0], [1]]


def test_constants_are_no_vertices_but_pass_control_edges_on():
    def function(x):
        a = tf.exp(x, name="a")
        with tf.control_dependencies([a.op]):
            c = tf.constant([1.0], name="c")
        return tf.add(x, c, name="b")

    graph = trace(function, ([2], tf.float32))
    dag, names = dag_of_graph(graph.graph_def.node, value_kinds(graph, {}))
    assert "c" not in names
    edges = {
        (names[source], names[vertex])
        for vertex, sources in enumerate(dag.predecessors)
        for source in sources
    }
    assert ("a", "b") in edges
