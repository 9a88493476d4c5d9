"""FP16 and BF16 graphs, as text before and after, and what TensorRT-RTX says to them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.onnx_text import dtypes, model, nodes
from tftrt_toolkit import trt
from tftrt_toolkit.engine import BuildConfig, build_plans
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.onnx_model import content_hash, run_session, to_proto, to_session
from tftrt_toolkit.precision import PrecisionOptions, apply_precision, prepare
from tftrt_toolkit.precision.calibration import Calibration
from tftrt_toolkit.precision.histogram import statistics_of
from tftrt_toolkit.trt import Unavailable


def calibrated(original, ranges):
    """A calibration that saw these greatest values."""
    tensors = {
        name: statistics_of(np.array([size], np.float32), np.array([size], np.float32))
        for name, size in ranges.items()
    }
    return Calibration(content_hash(prepare(original)), 1, 1, tensors)


W = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)


def applied(text, weights=None, precision="FP16", ranges=None, options=None):
    original = model(text, weights)
    calibration = calibrated(original, ranges) if ranges else None
    typed = apply_precision(original, precision, calibration, options)
    onnx.checker.check_model(to_proto(typed.model), full_check=True)
    return typed


def test_fp32_is_left_alone():
    original = model("g (float[2, 4] x) => (float[2, 4] y) { y = MatMul(x, w) }", {"w": W})
    assert apply_precision(original, "FP32").model is original


def test_casts_at_the_borders_and_weights_once():
    before = """g (float[2, 4] x) => (float[2, 4] y, float[2, 4] z)
        { a = MatMul(x, w)  y = Relu(a)  b = MatMul(y, w)  z = Tanh(b) }"""
    typed = applied(before, {"w": W})
    assert nodes(typed.model.proto) == [
        "x/fp16 = Cast(x)",
        "a = MatMul(x/fp16, w/fp16)",
        "y/fp16 = Relu(a)",
        "y = Cast(y/fp16)",
        "b = MatMul(y/fp16, w/fp16)",
        "z/fp16 = Tanh(b)",
        "z = Cast(z/fp16)",
    ]
    assert dtypes(typed.model.proto) == {"w/fp16": "FLOAT16"}
    assert typed.islands == ()


def test_the_given_model_and_its_weights_are_left_alone():
    original = model("g (float[2, 4] x) => (float[2, 4] y) { y = MatMul(x, w) }", {"w": W})
    before = original.proto.SerializeToString()
    apply_precision(original, "FP16")
    assert original.proto.SerializeToString() == before
    assert original.weights["w"].dtype == np.float32


def test_integers_pass_untouched():
    before = "g (int64[4] i) => (int64[4] y) { y = Add(i, i) }"
    assert nodes(applied(before).model.proto) == ["y = Add(i, i)"]


def test_an_input_that_must_be_float_stays_float():
    before = """g (float[1, 1, 4, 4] x) => (float[1, 1, 8, 8] y)
        <float[4] scales = {1.0, 1.0, 2.0, 2.0}>
        { y = Resize<mode = "nearest">(x, , scales) }"""
    typed = applied(before)
    assert nodes(typed.model.proto) == [
        "x/fp16 = Cast(x)",
        "y/fp16 = Resize(x/fp16, , scales)",
        "y = Cast(y/fp16)",
    ]


def test_a_cast_to_float_becomes_a_cast_to_half():
    before = """g (bool[2, 4] m, float[2, 4] x) => (float[2, 4] y)
        { f = Cast<to = 1>(m)  y = Mul(f, x) }"""
    typed = applied(before)
    assert nodes(typed.model.proto)[:2] == ["f = Cast(m)", "x/fp16 = Cast(x)"]
    assert typed.model.proto.graph.node[0].attribute[0].i == TensorProto.FLOAT16


def test_a_constant_of_shape_is_made_in_half():
    before = """g (int64[2] s, float[2, 4] x) => (float[a, b] y)
        { f = ConstantOfShape<value = float[1] {2.0}>(s)  y = Mul(f, x) }"""
    typed = applied(before)
    value = typed.model.proto.graph.node[0].attribute[0].t
    assert (value.data_type, onnx.numpy_helper.to_array(value)) == (TensorProto.FLOAT16, 2.0)


def test_what_a_body_captures_stays_float():
    before = """g (bool c, float[4] x) => (float[4] y) {
        a = Relu(x)
        y = If (c) <then_branch = t () => (float[4] p) { p = Neg(a) },
                    else_branch = e () => (float[4] q) { q = Abs(a) }>
        }"""
    typed = applied(before)
    assert nodes(typed.model.proto) == ["a = Relu(x)", "y = If(c)"]
    assert [island.op for island in typed.islands] == ["If"]


ISLANDS = {
    "a constant beyond 65504": (
        "{ a = Mul(x, c)  y = Relu(a) }",
        {"c": np.array([1, 2, 3, 1e5], np.float32)},
        {},
        ["Mul"],
        "reaches 1e+05",
    ),
    "a constant within": (
        "{ a = Mul(x, c)  y = Relu(a) }",
        {"c": np.array([1, 2, 3, 6e4], np.float32)},
        {},
        [],
        "",
    ),
    "an infinity": (
        "{ a = Max(x, c)  y = Relu(a) }",
        {"c": np.array([-np.inf, 0, 0, 0], np.float32)},
        {},
        [],
        "",
    ),
    "a calibrated range": (
        "{ a = Mul(x, x)  b = Relu(a)  s = Neg(b)  y = Sigmoid(s) }",
        {},
        {"a": 2e4},
        ["Mul", "Relu"],
        "reaches 2e+04 in calibration",
    ),
    "a range within": ("{ a = Mul(x, x)  y = Relu(a) }", {}, {"a": 1.6e4}, [], ""),
    "a range of tiny numbers": (
        "{ a = Mul(x, x)  y = Relu(a) }",
        {},
        {"a": 1e-6},
        ["Mul", "Relu"],
        "stays below",
    ),
    "a dead tensor": ("{ a = Mul(x, x)  y = Relu(a) }", {}, {"a": 0.0}, [], ""),
    "an epsilon and its root": (
        "{ a = Add(x, c)  b = Sqrt(a)  y = Relu(b) }",
        {"c": np.array(1e-12, np.float32)},
        {},
        ["Add", "Sqrt"],
        "below FP16's normal numbers",
    ),
    "a sum of squares up to its root": (
        "{ a = Mul(x, x)  i = Constant<value = int64[1] {-1}>()  m = ReduceMean(a, i)"
        "  r = Sqrt(m)  d = Div(x, r)  y = Relu(d) }",
        {},
        {},
        ["Mul", "ReduceMean", "Sqrt", "Div"],
        "a sum of squares",
    ),
    "a mean of what is no square": (
        "{ i = Constant<value = int64[1] {-1}>()  a = ReduceMean(x, i)  y = Sub(x, a) }",
        {},
        {},
        [],
        "",
    ),
    "an exponential up to its log": (
        "{ a = Exp(x)  b = Add(a, c)  l = Log(b)  y = Relu(l) }",
        {"c": np.array(1, np.float32)},
        {},
        ["Exp", "Add", "Log"],
        "an exponential",
    ),
    "what the user asks for": ("{ a = Tanh(x)  y = Relu(a) }", {}, {}, ["Tanh"], "asked for by"),
}  # fmt: skip


@pytest.mark.parametrize("case", ISLANDS)
def test_islands(case):
    body, weights, ranges, expected, reason = ISLANDS[case]
    text = f"g (float[2, 4] x) => (float[2, 4] y) {body}"
    options = PrecisionOptions(keep_fp32=("tanh_*",))
    typed = applied(text, weights, ranges=ranges, options=options)
    assert [island.op for island in typed.islands] == expected
    assert all(reason in island.reason for island in typed.islands)
    assert {island.precision for island in typed.islands} <= {"FP32"}
    names = {island.node for island in typed.islands}
    typed_as = onnx.shape_inference.infer_shapes(to_proto(typed.model)).graph
    found = {value.name: value.type.tensor_type.elem_type for value in typed_as.value_info}
    for node in typed.model.proto.graph.node:
        if node.op_type not in ("Cast", "Constant") and node.output[0] in found:
            low = found[node.output[0]] == TensorProto.FLOAT16
            assert low == (node.name not in names), node.name


def test_counting_in_float_stays_exact():
    before = """g (int32[1, 8] i, float[1, 8] x) => (float[1, 8] y)
        <float[1] first = {4096.0}>
        { f = Cast<to = 1>(i)  p = Sub(f, first)  y = Mul(p, x) }"""
    typed = applied(before)
    assert [island.op for island in typed.islands] == ["Cast", "Sub"]
    inputs = [np.full((1, 8), 4099, np.int32), np.ones((1, 8), np.float32)]
    (low,) = run_session(to_session(typed.model), typed.model, inputs)
    assert low[0, 0] == 3  # FP16 would have made 4100 of 4099


MASK = """g (float[2, 4] s, float[2, 4] m) => (float[2, 4] y)
    <float one = {1.0}, float[1] big = {-1e9}>
    { i = Sub(one, m)  b = Mul(i, big)  a = Add(s, b)  %s }"""


def test_masks_are_clamped():
    typed = applied(MASK % "y = Softmax(a)")
    assert typed.islands == ()
    scores = [np.zeros((2, 4), np.float32), np.array([[1, 1, 0, 0], [0, 1, 1, 1]], np.float32)]
    (low,) = run_session(to_session(typed.model), typed.model, scores)
    np.testing.assert_allclose(low[0], [0.5, 0.5, 0, 0])
    original = model(MASK % "y = Softmax(a)")
    (high,) = run_session(to_session(original), original, scores)
    np.testing.assert_allclose(low, high, atol=1e-3)


def test_what_calibration_saw_of_a_mask_is_no_range():
    typed = applied(MASK % "y = Softmax(a)", ranges={"b": 1e9, "a": 1e9})
    assert typed.islands == ()


@pytest.mark.parametrize("end", ["y = Relu(a)", "r = Relu(a)  t = Softmax(r)  y = Add(t, a)"])
def test_other_large_constants_are_not_clipped(end):
    typed = applied(MASK % end)
    assert [island.op for island in typed.islands][:1] == ["Mul"]
    kept = [onnx.numpy_helper.to_array(one) for one in typed.model.proto.graph.initializer]
    assert any(float(value.reshape(-1)[0]) == -1e9 for value in kept)


def test_bf16_keeps_large_constants_and_raises_the_opset():
    before = """g (float[1, 1, 4, 4] x) => (float[1, 2, 4, 4] y) <float[1] c = {1e30}>
        { a = Mul(x, c)  y = Conv<kernel_shape = [1, 1]>(a, w) }"""
    typed = applied(before, {"w": np.ones((2, 1, 1, 1), np.float32)}, "BF16")
    assert typed.islands == ()
    assert set(dtypes(typed.model.proto).values()) == {"BFLOAT16"}
    assert typed.model.proto.opset_import[0].version >= 22


def test_an_unknown_precision():
    with pytest.raises(InvalidArgumentError, match="use one of FP32, FP16"):
        apply_precision(model("g (float[1] x) => (float[1] y) { y = Relu(x) }"), "FP64")


@pytest.mark.skipif(
    isinstance(trt.find("tensorrt_rtx"), Unavailable), reason="tensorrt_rtx isn't installed"
)
@pytest.mark.parametrize("precision", ["FP16", "BF16"])
def test_the_builder_takes_islands_and_casts(precision):
    text = """g (float[2, 4] x, bool[2, 4] c) => (float[2, 4] y, float[2, 4] z)
        { a = MatMul(x, w)  b = Mul(a, k)  e = Exp(b)  z = Softmax(a)  y = Where(c, e, x) }"""
    weights = {"w": W, "k": np.array(1e5, np.float32)}
    typed = applied(text, weights, precision)
    config = BuildConfig(flavour="tensorrt_rtx", compute_capabilities=("8.6", "8.9", "12.0"))
    (plan,) = build_plans(typed, "seg", [], config)
    assert plan.precision == precision
    assert plan.size > 0
