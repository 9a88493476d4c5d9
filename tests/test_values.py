"""What nodes depend on."""

import numpy as np
import tensorflow as tf

from tests.graphs import trace
from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.values import ValueKind, value_kinds


def function(x):
    w = tf.constant(np.ones(4, np.float32), name="w")
    scale = tf.math.rsqrt(w, name="scale")
    size = tf.shape(x, name="size")
    double = tf.multiply(size, 2, name="double")
    zeros = tf.raw_ops.Fill(dims=size, value=0.0, name="zeros")
    ones = tf.exp(zeros, name="ones")
    y = tf.reshape(x, double, name="y")
    return scale, ones, tf.shape(y, name="size_of_y")


def kinds(refused=(), weights=()):
    graph = trace(function, ([None, 4], tf.float32), weights=weights)
    found = value_kinds(graph, {name: Refusal("test", "") for name in ("x", *refused)})
    return {name: kind.name for name, kind in found.items()}


def test_kinds():
    found = kinds()
    assert {name: found[name] for name in ("w", "scale")} == {"w": "CONSTANT", "scale": "CONSTANT"}
    assert {found[name] for name in ("size", "double", "size_of_y")} == {ValueKind.SHAPE.name}
    assert {found[name] for name in ("zeros", "ones")} == {ValueKind.FILLED.name}
    assert {found[name] for name in ("x", "y")} == {ValueKind.DATA.name}


def test_a_weight_is_a_constant():
    assert kinds(weights=["w"])["scale"] == "CONSTANT"


def test_a_refused_node_yields_data():
    found = kinds(refused=["size", "w"])
    assert found["size"] == found["double"] == found["zeros"] == found["scale"] == "DATA"
    assert found["size_of_y"] == "SHAPE"
