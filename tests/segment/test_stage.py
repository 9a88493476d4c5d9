"""Segments of small graphs, written out."""

import tensorflow as tf

from tests.graphs import trace
from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.segment import SegmentRules, segment_graph
from tftrt_toolkit.support import SupportRules, support_map

MATRIX = ([None, 4], tf.float32)


def segment(graph, dynamic_shape=True, refused=(), marked=False, **rules):
    found = dict(support_map(graph, SupportRules(dynamic_shape=dynamic_shape)))
    found |= {name: Refusal("test", "asked for by the test") for name in refused}
    return segment_graph(graph, found, SegmentRules(**rules), graph_index=0, marked=marked)


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
