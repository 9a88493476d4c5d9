"""What the user, the mode and the tensors refuse, whatever the op."""

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import trace
from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support import SupportRules, support_map

MATRIX = ([None, 4], tf.float32)


def refusals(function, *specs, weights=(), **rules):
    rules.setdefault("dynamic_shape", True)
    found = support_map(trace(function, *specs, weights=weights), SupportRules(**rules))
    return {node: refusal for node, refusal in found.items() if refusal.rule != "argument"}


def net(x):
    with tf.name_scope("body"):
        x = tf.nn.relu(x, name="relu")
        x = tf.exp(x, name="exp")
    return tf.tanh(x, name="head")


def test_a_plain_graph_refuses_its_arguments_alone():
    found = support_map(trace(net, MATRIX), SupportRules())
    assert found == {"x": Refusal("argument", "it is an input of the graph")}


@pytest.mark.parametrize(
    ("rules", "node", "rule", "reason"),
    [
        ({"native_ops": {"Exp"}}, "body/exp", "native op", "Exp is among native_ops"),
        (
            {"denylist": {"Relu"}},
            "body/relu",
            "denylist",
            "Relu is listed in TF_TRT_OP_DENYLIST",
        ),
        (
            {"native_nodes": ("he?d",)},
            "head",
            "native node",
            "its name matches 'he?d' among native_nodes",
        ),
        (
            {"extra": {"head": Refusal("check", "differs by 0.5")}},
            "head",
            "check",
            "differs by 0.5",
        ),
    ],
)
def test_what_the_user_keeps_native(rules, node, rule, reason):
    assert refusals(net, MATRIX, **rules) == {node: Refusal(rule, reason)}


def test_a_pattern_matches_whole_names_with_their_case():
    assert refusals(net, MATRIX, native_nodes=("body/*",)).keys() == {"body/relu", "body/exp"}
    assert not refusals(net, MATRIX, native_nodes=("relu", "HEAD"))


@pytest.mark.parametrize(
    ("function", "spec", "node", "rule", "reason"),
    [
        (
            lambda x: tf.exp(x, name="n"),
            ([2, 2], tf.float64),
            "n",
            "dtype",
            "float64 isn't a TensorRT type (x:0)",
        ),
        (
            lambda x: tf.cast(x, tf.float64, name="n"),
            ([2, 2], tf.float32),
            "n",
            "dtype",
            "float64 isn't a TensorRT type (n:0)",
        ),
        (
            lambda x: tf.strings.lower(x, name="n"),
            ([2], tf.string),
            "n",
            "dtype",
            "TensorRT has no strings (x:0)",
        ),
        (
            lambda x: tf.exp(x, name="n"),
            ([2, 2], tf.complex64),
            "n",
            "dtype",
            "TensorRT has no complex numbers (x:0)",
        ),
        (
            lambda x: tf.exp(x, name="n"),
            (None, tf.float32),
            "n",
            "unknown rank",
            "the rank of x:0 is unknown",
        ),
        (
            lambda x: tf.exp(x, name="n"),
            ([1] * 9, tf.float32),
            "n",
            "rank",
            "x:0 has rank 9, TensorRT knows 8",
        ),
        (
            lambda x: tf.raw_ops.Where(condition=x, name="n"),
            ([2, 2], tf.float32),
            "n",
            "data-dependent shape",
            "output shape depends on data",
        ),
        (
            lambda x: tf.raw_ops.RandomUniform(shape=x, dtype=tf.float32, name="n"),
            ([2], tf.int32),
            "n",
            "stateful",
            "it has state or side effects, and an engine is a pure function",
        ),
        (
            lambda x: tf.math.lgamma(x, name="n"),
            ([2, 2], tf.float32),
            "n",
            "no mapping",
            "Lgamma has no mapping to ONNX that was found right",
        ),
        (
            lambda x: tf.nn.relu(x, name="n"),
            ([2, 2], tf.int32),
            "n",
            "dtype",
            "Relu converts for float16, float32, not for int32",
        ),
    ],
)
def test_the_reason_is_a_sentence(function, spec, node, rule, reason):
    assert refusals(function, spec)[node] == Refusal(rule, reason)


def test_rank_8_is_the_boundary():
    assert not refusals(tf.exp, ([1] * 8, tf.float32))


def test_an_output_that_nothing_takes_may_be_of_any_rank():
    def function(x):
        ones = tf.ones([4])
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=ones, offset=ones, mean=ones, variance=ones, is_training=False, name="n"
        ).y

    graph = trace(function, ([None, 2, 2, 4], tf.float32))
    assert graph.tensors["n:5"].shape.rank is None
    assert support_map(graph, SupportRules()).keys() == {"x"}


def test_control_flow_stays_native_with_its_reason():
    def function(x):
        return tf.while_loop(lambda x: tf.reduce_sum(x) < 9, lambda x: [x + 1], [x])[0]

    graph = trace(function, ([2, 2], tf.float32))
    found = support_map(graph, SupportRules())
    loop = next(node.name for node in graph.graph_def.node if "While" in node.op)
    assert found[loop].rule == "control flow"
    assert len(graph.bodies) == 2
    for body in graph.bodies.values():
        rules = {refusal.rule for refusal in support_map(body, SupportRules()).values()}
        assert "control flow" not in rules


class TestStaticMode:
    def refusals(self, function, *specs, **rules):
        return refusals(function, *specs, dynamic_shape=False, **rules)

    def test_rank_below_2(self):
        found = self.refusals(lambda x: tf.exp(x, name="n"), ([None], tf.float32))
        assert found["n"] == Refusal(
            "rank", "its input has rank 1; below 2 needs use_dynamic_shape=True"
        )
        assert not refusals(tf.exp, ([None], tf.float32))

    def test_the_leading_input_decides(self):
        assert not self.refusals(tf.add, MATRIX, ([4], tf.float32))

    def test_a_dynamic_dimension_other_than_the_batch(self):
        found = self.refusals(lambda x: tf.exp(x, name="n"), ([None, None], tf.float32))
        assert found["n"] == Refusal(
            "dynamic dimension",
            "n:0 has a dynamic dimension other than the batch: (None, None); "
            "use_dynamic_shape=True takes it",
        )

    def test_shape_computations_are_exempt(self):
        def function(x):
            return tf.reshape(tf.exp(x), [tf.shape(x)[0], 2, 2])

        assert not self.refusals(function, MATRIX)

    def test_what_is_computed_from_weights_is_exempt(self):
        scale = np.ones(4, np.float32)

        def function(x):
            return x * tf.math.rsqrt(tf.constant(scale, name="w") + 1)

        assert not self.refusals(function, MATRIX, weights=["w"])


def test_a_native_node_makes_data_of_a_shape():
    def function(x):
        size = tf.identity(tf.shape(x), name="size")
        return tf.reshape(tf.exp(x), size, name="n")

    assert not refusals(function, MATRIX)
    found = refusals(function, MATRIX, native_nodes=("size",))
    assert found["n"] == Refusal(
        "data-dependent shape", "output shape depends on data: shape is computed"
    )


def test_uint8_comes_in_through_casts_only():
    def function(x):
        return tf.cast(x, tf.float32, name="cast"), tf.transpose(x, name="n")

    found = refusals(function, ([2, 2], tf.uint8))
    assert "cast" not in found
    assert (
        found["n"].reason
        == "Transpose converts for bool, int32, int64, float16, float32, not for uint8"
    )
    constant = refusals(
        lambda x: x + tf.cast(tf.constant([1], tf.uint8), tf.int32), ([2], tf.int32)
    )
    assert constant["Const"] == Refusal("dtype", "TensorRT has no uint8 constants")
