"""Scales folded into convolutions, layer normalizations fused; what doesn't fit is left alone."""

import numpy as np
import pytest

from tests.onnx_text import model, nodes
from tftrt_toolkit.onnx_model import run_session, to_session
from tftrt_toolkit.precision import prepare

RNG = np.random.default_rng(0)
CONV = {"w": RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)}
CHANNELS = {
    name: RNG.uniform(0.5, 2, size=shape).astype(np.float32)
    for name, shape in {"s": (1, 3, 1, 1), "t": (3, 1, 1), "one": (1,), "v": (3,)}.items()
}


def agree(original, prepared, *shapes):
    inputs = [RNG.normal(size=shape).astype(np.float32) for shape in shapes]
    before = run_session(to_session(original, optimize=False), original, inputs)
    after = run_session(to_session(prepared, optimize=False), prepared, inputs)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("c = Conv(x, w)  m = Mul(c, s)  y = Add(m, t)", ["Conv"]),
        ("c = Conv(x, w, v)  m = Mul(s, c)  y = Sub(m, t)", ["Conv"]),
        ("c = Conv(x, w)  y = Mul(c, one)", ["Conv"]),
        ("c = Conv(x, w)  y = BatchNormalization(c, v, v, v, v)", ["Conv"]),
        ("c = Conv(x, w)  y = Sub(t, c)", ["Conv", "Sub"]),
        ("c = Conv(x, w)  y = Mul(c, c)", ["Conv", "Mul"]),
        ("c = Conv(x, w)  m = Mul(c, s)  y = Add(m, c)", ["Conv", "Mul", "Add"]),
        ("c = Conv(x, w)  r = Relu(c)  y = Mul(r, s)", ["Conv", "Relu", "Mul"]),
    ],
)
def test_scales_behind_convolutions(body, kept):
    text = f"g (float[1, 2, 5, 5] x) => (float[1, 3, 3, 3] y) {{ {body} }}"
    original = model(text, CONV | CHANNELS)
    prepared = prepare(original)
    assert [node.op_type for node in prepared.proto.graph.node] == kept
    agree(original, prepared, (1, 2, 5, 5))


def test_a_scale_that_differs_within_a_channel_is_kept():
    weights = CONV | {"p": np.ones((3, 1, 3), np.float32)}
    text = "g (float[1, 2, 5, 5] x) => (float[1, 3, 3, 3] y) { c = Conv(x, w)  y = Mul(c, p) }"
    prepared = prepare(model(text, weights))
    assert [node.op_type for node in prepared.proto.graph.node] == ["Conv", "Mul"]


STATISTICS = """i = Constant<value = int64[1] {-1}>()  m = ReduceMean(x, i)  d = Sub(x, m)
    q = Mul(d, d)  v = ReduceMean(q, i)  e = Add(v, eps)  r = Sqrt(e)"""
NORM = {
    "eps": np.array(1e-3, np.float32),
    "g": RNG.normal(size=6).astype(np.float32),
    "b": RNG.normal(size=(1, 6)).astype(np.float32),
}
KERAS = "k = Reciprocal(r)  s = Mul(k, g)  a = Mul(x, s)  n = Neg(m)  o = Mul(n, s)"
TF = "k = Reciprocal(r)  s = Mul(k, g)  a = Mul(x, s)  o = Mul(m, s)"
FORMS = {
    "keras": f"{KERAS}  p = Add(o, b)  y = Add(a, p)",
    "keras without beta": f"{KERAS}  y = Add(a, o)",
    "keras without gamma": "k = Reciprocal(r)  a = Mul(x, k)  n = Neg(m)  o = Mul(n, k)"
    "  p = Add(o, b)  y = Add(a, p)",
    "tf.nn": f"{TF}  p = Sub(b, o)  y = Add(a, p)",
    "tf.nn without beta": f"{TF}  y = Sub(a, o)",
    "plain division": "n = Div(d, r)  s = Mul(n, g)  y = Add(b, s)",
    "plain inverse": "k = Reciprocal(r)  n = Mul(d, k)  s = Mul(n, g)  y = Add(s, b)",
    "nothing behind": "y = Div(d, r)",
}


@pytest.mark.parametrize("form", FORMS)
def test_layer_normalizations(form):
    text = f"g (float[2, 3, 6] x) => (float[2, 3, 6] y) {{ {STATISTICS} {FORMS[form]} }}"
    original = model(text, NORM)
    prepared = prepare(original)
    assert [node.op_type for node in prepared.proto.graph.node] == ["LayerNormalization"]
    agree(original, prepared, (2, 3, 6))


@pytest.mark.parametrize(
    "change",
    [
        ("{-1}", "{1}"),
        ("d = Sub(x, m)", "d = Add(x, m)"),
        ("q = Mul(d, d)", "q = Mul(d, x)"),
        ("y = Div(d, r)", "y = Div(x, r)"),
        ("y = Div(d, r)", "y = Mul(d, r)"),
    ],
)
def test_what_is_no_layer_normalization_stays(change):
    body = f"{STATISTICS} {FORMS['nothing behind']}".replace(*change)
    original = model(f"g (float[2, 3, 6] x) => (float[2, 3, 6] y) {{ {body} }}", NORM)
    assert nodes(prepare(original).proto) == nodes(original.proto)


def test_a_normalization_whose_size_is_unknown_stays():
    text = f"g (float[2, n] x) => (float[2, n] y) {{ {STATISTICS} {FORMS['nothing behind']} }}"
    original = model(text, NORM)
    assert nodes(prepare(original).proto) == nodes(original.proto)


def test_other_users_of_the_statistics_still_get_them():
    text = f"g (float[2, 6] x) => (float[2, 6] y, float[2, 1] r) {{ {STATISTICS} y = Div(d, r) }}"
    original = model(text, NORM)
    prepared = prepare(original)
    assert prepared.proto.graph.node[-1].op_type == "LayerNormalization"
    agree(original, prepared, (2, 6))
