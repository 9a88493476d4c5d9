"""Copies of messages, and what stays of a repeated field."""

import pytest
import tensorflow as tf

from tftrt_toolkit.protos import copied, keep_items


def graph_of(names):
    graph = tf.compat.v1.GraphDef()
    for name in names:
        graph.node.add(name=name, op="NoOp")
    return graph


def test_a_copy_stays_as_it_was():
    graph = graph_of("ab")
    copy = copied(graph.node[1])
    graph.node[1].name = "other"
    del graph.node[:]
    assert (type(copy), copy.name, copy.op) == (tf.compat.v1.NodeDef, "b", "NoOp")


@pytest.mark.parametrize(
    ("kept", "left"),
    [([], ""), ([0, 3], "ad"), ([3, 0], "ad"), (iter([1]), "b"), (range(9), "abcd")],
)
def test_what_stays_keeps_its_order(kept, left):
    graph = graph_of("abcd")
    keep_items(graph.node, kept)
    assert "".join(node.name for node in graph.node) == left
