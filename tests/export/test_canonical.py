import itertools

import onnx
import pytest

from tftrt_toolkit.export.canonical import canonicalize

HEADER = "g (float x) => (float y)"


def canonical(text):
    graph = onnx.parser.parse_graph(text)
    canonicalize(graph)
    return graph


def test_order_and_generated_numbers_do_not_matter():
    nodes = ["[a__1] a__7 = Relu(x)", "[b__9] b__2 = Add(x, c__3)", "[y] y = Mul(a__7, b__2)"]
    first = canonical(f"{HEADER} <float c__3 = {{1}}> {{ {' '.join(nodes)} }}")
    for order in itertools.permutations(nodes):
        text = " ".join(order).replace("__7", "__70").replace("__2", "__1").replace("c__3", "c__8")
        other = canonical(f"{HEADER} <float c__8 = {{1}}> {{ {text} }}")
        assert other == first
    assert [node.name for node in first.node] == ["a", "b", "y"]
    assert [tensor.name for tensor in first.initializer] == ["b/1"]


def test_interface_names_stay():
    graph = canonical("g (float x__1) => (float y__2) { y__2 = Relu(x__1) }")
    assert (graph.input[0].name, graph.output[0].name) == ("x__1", "y__2")
    assert list(graph.node[0].input) == ["x__1"]
    assert list(graph.node[0].output) == ["y__2"]


def test_equal_names_are_numbered_by_order():
    graph = canonical(f"{HEADER} {{ [r__5] t = Relu(x) [r__3] u = Relu(t) [r__4] y = Relu(u) }}")
    assert [node.name for node in graph.node] == ["r", "r__1", "r__2"]


def test_what_no_output_needs_is_dropped():
    graph = canonical(f"{HEADER} <float c = {{1}}> {{ t = Add(x, c) y = Relu(x) }}")
    assert [node.op_type for node in graph.node] == ["Relu"]
    assert not graph.initializer


def test_a_constant_result_stays():
    graph = canonical("g () => (float y) <float y = {1}> { }")
    assert [tensor.name for tensor in graph.initializer] == ["y"]


def test_bodies_see_the_names_around_them():
    """A constant used in a branch alone is kept, and what the branch takes from outside, too."""
    model = onnx.parser.parse_graph(
        """
        g (bool x) => (float y) <float[1] c__4 = {1}, float[1] d__5 = {2}> {
          s__9 = Relu(d__5)
          y = If (x) <
            then_branch = a () => (float[1] t__1) { t__1 = Add(s__9, c__4) },
            else_branch = b () => (float[1] e__1) { e__1 = Identity(s__9) }
          >
        }
        """
    )
    canonicalize(model)
    assert [node.op_type for node in model.node] == ["Relu", "If"]
    (source,) = model.node[0].output
    then_branch, else_branch = (attribute.g for attribute in model.node[1].attribute)
    constants = {tensor.name for tensor in model.initializer}
    assert then_branch.node[0].input[0] == source == else_branch.node[0].input[0]
    assert then_branch.node[0].input[1] in constants
    assert then_branch.output[0].name == then_branch.node[0].output[0]


@pytest.mark.parametrize("depth", [5000])
def test_deep_graphs_do_not_exhaust_the_stack(depth):
    names = ["x", *(f"t{index}" for index in range(depth - 1)), "y"]
    body = " ".join(f"{b} = Relu({a})" for a, b in itertools.pairwise(names))
    assert len(canonical(f"{HEADER} {{ {body} }}").node) == depth
