import pytest
import tensorflow as tf

from tftrt_toolkit import graph
from tftrt_toolkit.errors import InternalError


def node(name, *inputs):
    return tf.compat.v1.NodeDef(name=name, op="NoOp", input=list(inputs))


def test_names_of_an_input():
    assert graph.node_of("^a/b") == graph.node_of("a/b:1") == graph.node_of("a/b") == "a/b"
    assert graph.tensor_of("a/b") == "a/b:0"
    assert graph.tensor_of("a/b:1") == "a/b:1"
    with pytest.raises(InternalError, match="control input"):
        graph.tensor_of("^a")


def test_inputs_are_told_apart_by_kind():
    taken = node("c", "a", "b:2", "^d")
    assert list(graph.data_inputs(taken)) == ["a:0", "b:2"]
    assert list(graph.control_inputs(taken)) == ["d"]


def test_topological_order_follows_data_and_control_inputs():
    shuffled = [node("d", "b", "^c"), node("c", "a"), node("b", "a:1"), node("a", "outside")]
    names = [sorted_node.name for sorted_node in graph.topological(shuffled)]
    assert names == ["a", "c", "b", "d"]


def test_a_cycle_is_an_internal_error():
    with pytest.raises(InternalError, match="cycle through a, b"):
        graph.topological([node("a", "b"), node("b", "a")])


def test_a_loop_of_tensorflow_1_is_no_cycle():
    merge = tf.compat.v1.NodeDef(name="merge", op="Merge", input=["enter", "next"])
    back = tf.compat.v1.NodeDef(name="next", op="NextIteration", input=["body"])
    loop = [node("exit", "body"), node("body", "merge"), merge, back, node("enter")]
    names = [sorted_node.name for sorted_node in graph.topological(loop)]
    assert names.index("merge") < names.index("body") < names.index("exit")
