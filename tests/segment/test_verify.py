"""The check behind the stage finds each fault that later stages would stumble over."""

import dataclasses

import pytest
import tensorflow as tf

from tests.graphs import trace
from tftrt_toolkit.artifacts import Refusal, TensorSpec
from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.segment import SegmentRules, segment_graph, verify_segmentation
from tftrt_toolkit.support import SupportRules, support_map


def diamond(x):
    a = tf.nn.relu(x, name="a")
    b = tf.exp(a + tf.constant([1.0], name="w"), name="b")
    n = tf.sin(b, name="n")
    c = tf.add(n, b, name="c")
    return tf.tanh(c, name="d")


@pytest.fixture(scope="module")
def graph():
    return trace(diamond, ([None, 4], tf.float32))


@pytest.fixture
def found(graph):
    refusals = {**support_map(graph, SupportRules()), "n": Refusal("test", "")}
    return segment_graph(graph, refusals, SegmentRules(minimum_segment_size=2), 0)


def changed(found, index, **fields):
    segments = list(found.segments)
    segments[index] = dataclasses.replace(segments[index], **fields)
    return dataclasses.replace(found, segments=tuple(segments))


def test_what_the_stage_gives_is_sound(graph, found):
    assert len(found.segments) == 2
    verify_segmentation(graph, found)


def tensor(name):
    return TensorSpec(name, tf.float32, tf.TensorShape([None, 4]))


@pytest.mark.parametrize(
    ("index", "fields", "fault"),
    [
        (1, {"name": "TRTEngineOp_000_000"}, "two segments bear one name"),
        (0, {"name": "a"}, "a node is named 'a' already"),
        (0, {"nodes": ("a", "add", "b", "gone", "w")}, "names node 'gone', which doesn't exist"),
        (0, {"nodes": ("a", "a", "add", "b", "w")}, "lists a node twice"),
        (0, {"nodes": ("a", "add", "b", "n", "w")}, "holds refused node 'n'"),
        (0, {"nodes": ("a", "add", "b")}, "takes 'w:0' without declaring it"),
        (0, {"inputs": ()}, "lacks inputs or outputs"),
        (0, {"inputs": (tensor("n:0"),)}, "takes 'x:0' without declaring it"),
        (0, {"inputs": (tensor("x:0"), tensor("a:0"))}, "computes its own input 'a:0'"),
        (0, {"outputs": (tensor("d:0"),)}, "doesn't compute output 'd:0'"),
        (0, {"outputs": (tensor("a:0"),)}, "'b:0' leaves a segment that doesn't declare it"),
        (0, {"outputs": (TensorSpec("b:0", tf.float16, tf.TensorShape([None, 4])),)}, "misstates"),
        (0, {"weights": ("w",)}, "misstates its weights"),
        (1, {"nodes": ("a", "c", "d", "Identity"), "inputs": None}, "node 'a' is in two segments"),
        (0, {"control_inputs": ("d",)}, "close a cycle"),
    ],
)
def test_a_fault_is_found(graph, found, index, fields, fault):
    if fields.get("inputs", ()) is None:
        fields = {**fields, "inputs": (*found.segments[index].inputs, tensor("x:0"))}
    with pytest.raises(InternalError, match=fault):
        verify_segmentation(graph, changed(found, index, **fields))


def test_a_cycle_through_a_native_node_is_found(graph, found):
    whole = dataclasses.replace(
        found.segments[0],
        nodes=("a", "w", "add", "b", "c", "d", "Identity"),
        inputs=(tensor("x:0"), tensor("n:0")),
        outputs=(tensor("b:0"), tensor("Identity:0")),
    )
    with pytest.raises(InternalError, match="close a cycle"):
        verify_segmentation(graph, dataclasses.replace(found, segments=(whole,)))
