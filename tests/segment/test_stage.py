"""Segments of small graphs, written out."""

import dataclasses
import time

import pytest
import tensorflow as tf

from tests.graphs import trace
from tests.synthetic import random_graph
from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.segment import SegmentRules, segment_graph
from tftrt_toolkit.support import SupportRules, support_map

MATRIX = ([None, 4], tf.float32)


def segment(graph, dynamic_shape=True, refused=(), **rules):
    found = dict(support_map(graph, SupportRules(dynamic_shape=dynamic_shape)))
    found |= {name: Refusal("test", "asked for by the test") for name in refused}
    return segment_graph(graph, found, SegmentRules(**rules), graph_index=0)


def listing(segmentation):
    """Segments and drops as text."""
    lines = []
    for found in segmentation.segments:
        lines.append(found.name)
        lines.append("  in:    " + ", ".join(spec.name for spec in found.inputs))
        lines.append("  nodes: " + ", ".join(found.nodes))
        lines.append("  out:   " + ", ".join(spec.name for spec in found.outputs))
    for drop in segmentation.drops:
        lines.append(f"{drop.rule}: {', '.join(drop.nodes) or '-'}")
    return "\n".join(lines)


def chain(x):
    with tf.name_scope("net/head"):
        y = tf.nn.relu(x, name="a")
        y = tf.exp(y, name="b")
    with tf.name_scope("net/tail"):
        return tf.tanh(y, name="c")


def test_one_segment_named_after_the_common_scope():
    found = segment(trace(chain, MATRIX))
    assert listing(found) == (
        "net/TRTEngineOp_000_000\n"
        "  in:    x:0\n"
        "  nodes: net/head/a, net/head/b, net/tail/c, Identity\n"
        "  out:   Identity:0"
    )


def test_segment_indices_start_where_asked():
    graph = trace(chain, MATRIX)
    found = segment_graph(graph, {"x": Refusal("argument", "")}, SegmentRules(), 3, first_index=7)
    assert [item.name for item in found.segments] == ["net/TRTEngineOp_003_007"]


def fork(x):
    a = tf.nn.relu(x, name="a")
    b = tf.exp(a, name="b")
    n = tf.sin(b, name="n")
    c = tf.add(n, b, name="c")
    return tf.tanh(c, name="d")


def test_a_cycle_through_a_native_node_parts_two_segments():
    found = segment(trace(fork, MATRIX), refused=["n"], minimum_segment_size=2)
    assert listing(found) == (
        "TRTEngineOp_000_000\n"
        "  in:    x:0\n"
        "  nodes: a, b\n"
        "  out:   b:0\n"
        "TRTEngineOp_000_001\n"
        "  in:    b:0, n:0\n"
        "  nodes: c, d, Identity\n"
        "  out:   Identity:0\n"
        "cycle: -"
    )
    assert found.drops[0].reason == (
        "TRTEngineOp_000_000 and TRTEngineOp_000_001 stay two engines: "
        "joining them would close a cycle through native node 'n' (Sin)"
    )
    assert [(merge.op, merge.before, merge.after) for merge in found.merges] == [("Sin", 2, 1)]


def test_what_a_cycle_leaves_out_is_said():
    found = segment(trace(fork, MATRIX), refused=["n", "d"], minimum_segment_size=2)
    assert [item.nodes for item in found.segments] == [("a", "b")]
    assert [(drop.nodes, drop.rule) for drop in found.drops] == [(("c",), "cycle")]


def test_a_native_side_branch_does_not_part_the_trunk():
    def function(x, mask):
        m = tf.nn.relu(mask, name="m")
        n = tf.sin(m, name="n")
        t = tf.exp(x, name="t")
        u = tf.add(t, n, name="u")
        return tf.tanh(u, name="v")

    found = segment(trace(function, MATRIX, MATRIX), refused=["n"], minimum_segment_size=1)
    assert [item.nodes for item in found.segments] == [("t", "u", "v", "Identity"), ("m",)]


def test_shape_computations_are_copied_to_where_they_are_used():
    def function(x):
        a = tf.nn.relu(x, name="a")
        b = tf.exp(a, name="b")
        size = tf.shape(b, name="size")
        n = tf.sin(b, name="n")
        c = tf.tanh(n, name="c")
        d = tf.reshape(c, size, name="d")
        return tf.add(d, d, name="e"), tf.raw_ops.RandomStandardNormal(shape=size, dtype=tf.float32)

    found = segment(trace(function, MATRIX), refused=["n"], minimum_segment_size=2)
    # The second segment computes the shape again; for the native random op the first one yields it.
    assert listing(found) == (
        "TRTEngineOp_000_000\n"
        "  in:    x:0\n"
        "  nodes: a, b, size\n"
        "  out:   b:0, size:0\n"
        "TRTEngineOp_000_001\n"
        "  in:    b:0, n:0\n"
        "  nodes: size, c, d, e, Identity\n"
        "  out:   Identity:0\n"
        "cycle: -"
    )
    assert [item.copies for item in found.segments] == [("size",), ("size",)]


def test_constants_are_copied_not_joined_through():
    def function(x, y):
        w = tf.constant([[1.0, 2.0, 3.0, 4.0]], name="w")
        a = tf.exp(tf.add(x, w, name="a"), name="b")
        return a, tf.exp(tf.add(y, w, name="c"), name="d")

    found = segment(trace(function, MATRIX, MATRIX))
    assert [item.nodes for item in found.segments] == [
        ("w", "a", "b", "Identity"),
        ("w", "c", "d", "Identity_1"),
    ]
    assert [item.copies for item in found.segments] == [("w",), ("w",)]
    for item in found.segments:
        assert item.op_counts == {"AddV2": 1, "Exp": 1, "Identity": 1}


def test_weights_are_named():
    def function(x):
        return tf.exp(tf.add(x, tf.constant([[1.0, 2.0, 3.0, 4.0]], name="w"), name="a"))

    (found,) = segment(trace(function, MATRIX, weights=["w"])).segments
    assert found.weights == ("w",)
    assert "w" in found.nodes


def test_what_is_filled_from_shapes_is_no_input():
    def function(x):
        zeros = tf.zeros(tf.shape(x), name="zeros")
        n = tf.sin(tf.exp(tf.add(x, zeros, name="a")), name="n")
        return tf.tanh(tf.add(n, zeros, name="b"))

    found = segment(trace(function, MATRIX), refused=["n"], minimum_segment_size=2)
    assert [[spec.name for spec in item.inputs] for item in found.segments] == [
        ["x:0"],
        ["x:0", "n:0"],
    ]
    assert all("zeros" in item.copies for item in found.segments)


def test_control_edges_count():
    def function(x):
        a = tf.exp(x, name="a")
        n = tf.sin(a, name="n")
        with tf.control_dependencies([n.op]):
            b = tf.tanh(a, name="b")
        return tf.nn.relu(b, name="c"), n

    found = segment(trace(function, MATRIX), refused=["n"], minimum_segment_size=1)
    assert [(item.nodes, item.control_inputs) for item in found.segments] == [
        (("a",), ()),
        (("b", "c", "Identity"), ("n",)),
    ]


def test_identities_do_not_count():
    def function(x):
        y = tf.identity(tf.identity(tf.nn.relu(x, name="a")))
        return tf.exp(tf.stop_gradient(y), name="b")

    graph = trace(function, MATRIX)
    assert len(segment(graph, minimum_segment_size=2).segments) == 1
    found = segment(graph, minimum_segment_size=3)
    assert not found.segments
    assert [(drop.rule, drop.reason) for drop in found.drops] == [
        ("size", "2 computing nodes and 0 constants are too few for minimum_segment_size=3")
    ]


def test_constants_count_but_one_node_alone_makes_no_engine():
    two = trace(lambda x: tf.exp(tf.add(x, 1.0)), MATRIX)
    assert len(segment(two, minimum_segment_size=3).segments) == 1
    one = trace(lambda x: x[:, 1:3], MATRIX)
    assert not segment(one, minimum_segment_size=3).segments
    assert len(segment(one, minimum_segment_size=1).segments) == 1


def test_integers_alone_make_no_engine():
    graph = trace(lambda x: tf.maximum(x * 2 + 1, 0) - 3, ([None, 4], tf.int32))
    found = segment(graph)
    assert not found.segments
    assert [drop.rule for drop in found.drops] == ["no floats"]
    assert len(segment(graph, minimum_segment_size=1).segments) == 1


def parted(x):
    for index in range(4):
        for step in range(index + 2):
            x = tf.exp(x, name=f"e{index}_{step}")
        x = tf.sin(x, name=f"n{index}")
    return x


def test_the_largest_survive_the_engine_limit():
    refused = [f"n{index}" for index in range(4)]
    graph = trace(parted, MATRIX)
    assert len(segment(graph, refused=refused, minimum_segment_size=1).segments) == 4
    assert len(segment(graph, refused=refused, minimum_segment_size=1, max_engines=0).segments) == 4
    found = segment(graph, refused=refused, minimum_segment_size=1, max_engines=2)
    assert [item.nodes[0] for item in found.segments] == ["e2_0", "e3_0"]
    assert [item.name for item in found.segments] == ["TRTEngineOp_000_000", "TRTEngineOp_000_001"]
    assert [(drop.rule, drop.nodes[0]) for drop in found.drops] == [
        ("engine limit", "e0_0"),
        ("engine limit", "e1_0"),
    ]
    assert "4 segments, and at most 2 engines are allowed" in found.drops[0].reason


def test_merges_say_what_supporting_an_op_would_join():
    refused = [f"n{index}" for index in range(3)]
    found = segment(trace(parted, MATRIX), refused=refused, minimum_segment_size=1)
    assert [(merge.op, merge.before, merge.after) for merge in found.merges] == [("Sin", 4, 1)]


def test_no_merge_is_promised_for_what_the_user_keeps_native():
    graph = trace(fork, MATRIX)
    refusals = support_map(graph, SupportRules(dynamic_shape=True, native_nodes=("n",)))
    found = segment_graph(graph, refusals, SegmentRules(minimum_segment_size=2), 0)
    assert len(found.segments) == 2
    assert not found.merges


def test_what_nothing_takes_stays_native():
    def function(x):
        return tf.sin(x, name="n"), tf.exp(tf.exp(x, name="dead"))

    graph = trace(function, MATRIX)
    graph = dataclasses.replace(graph, results=graph.results[:1])
    found = segment(graph, refused=["n"])
    assert not found.segments
    assert [(drop.rule, drop.nodes[0]) for drop in found.drops] == [("unused", "dead")]


def test_minus_one_converts_marked_functions_only():
    graph = trace(lambda x: tf.exp(x, name="a"), MATRIX)
    found = segment(graph, minimum_segment_size=-1)
    assert not found.segments
    assert [drop.rule for drop in found.drops] == ["not marked"]
    marked = dataclasses.replace(graph, marked=True)
    assert len(segment(marked, minimum_segment_size=-1).segments) == 1


def test_nothing_convertible():
    found = segment(trace(lambda x: tf.sin(x, name="n"), MATRIX), refused=["n", "Identity"])
    assert not found.segments
    assert not found.drops


def test_each_outcome_is_the_same_again():
    graph = random_graph(2000, reach=50)
    assert listing(segment(graph)) == listing(segment(graph))


def test_unlimited_segments_of_a_tangled_graph_hold_together():
    graph = random_graph(3000, native_share=0.3, reach=200)
    found = segment(graph, minimum_segment_size=1, max_engines=0)
    inner = [name for item in found.segments for name in item.nodes if name not in item.copies]
    dropped = [name for drop in found.drops for name in drop.nodes]
    nodes = {node.name for node in graph.graph_def.node} - {"c"}
    assert sorted([*inner, *dropped, *found.refusals]) == sorted(nodes)


@pytest.mark.slow
@pytest.mark.parametrize("reach", [20, 100_000])
def test_a_graph_of_100_000_nodes_takes_less_than_10_seconds(reach):
    graph = random_graph(80_000, reach=reach)
    assert len(graph.graph_def.node) > 100_000
    refusals = support_map(graph, SupportRules())
    start = time.process_time()  # one thread; the wall clock would measure the neighbours too
    segment_graph(graph, refusals, SegmentRules(), 0)
    assert time.process_time() - start < 10
