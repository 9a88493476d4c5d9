"""Q/DQ pairs: the rules one by one, as text before and after, with negative cases."""

import numpy as np
import onnx
import pytest

from tests.onnx_text import dtypes, model, nodes
from tftrt_toolkit import trt
from tftrt_toolkit.artifacts import TypedOnnx
from tftrt_toolkit.engine import BuildConfig, report_kernels
from tftrt_toolkit.errors import CalibrationError, InvalidArgumentError
from tftrt_toolkit.onnx_model import run_session, to_proto, to_session
from tftrt_toolkit.precision import (
    Calibrator,
    PrecisionOptions,
    apply_precision,
    emulate,
    prepare,
)
from tftrt_toolkit.precision.int4 import pack, quantize_blocks
from tftrt_toolkit.precision.quantize import quantize_weight
from tftrt_toolkit.trt import Unavailable

RNG = np.random.default_rng(0)
FP32 = PrecisionOptions(rest="FP32")


def weight(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def quantized(text, weights, precision="INT8", options=FP32, batches=None):
    original = model(text, weights)
    calibrator = Calibrator(original)
    for batch in batches or [inputs_of(original)]:
        calibrator.add(batch)
    typed = apply_precision(original, precision, calibrator.result(), options)
    onnx.checker.check_model(to_proto(typed.model), full_check=True)
    return typed


def inputs_of(original, size=4):
    shapes = [
        [dim.dim_value or size for dim in value.type.tensor_type.shape.dim]
        for value in original.proto.graph.input
    ]
    return tuple(RNG.normal(size=shape).astype(np.float32) for shape in shapes)


DENSE = "g (float[n, 32] x) => (float[n, 16] y) { m = MatMul(x, w)  a = Add(m, b)  y = Relu(a) }"
DENSE_WEIGHTS = {"w": weight(32, 16), "b": weight(16)}


def test_a_product_between_its_pairs():
    typed = quantized(DENSE, DENSE_WEIGHTS)
    assert nodes(typed.model.proto) == [
        "w/dq = DequantizeLinear(w/q, w/scale, w/zero)",
        "x/q = QuantizeLinear(x, x/scale, x/zero)",
        "x/dq = DequantizeLinear(x/q, x/scale, x/zero)",
        "m = MatMul(x/dq, w/dq)",
        "a = Add(m, b)",
        "y = Relu(a)",
    ]
    kinds = dtypes(typed.model.proto)
    assert kinds["w/q"] == kinds["w/zero"] == kinds["x/zero"] == "INT8"
    assert kinds["x/scale"] == kinds["w/scale"] == kinds["b"] == "FLOAT"
    scale = next(one for one in typed.model.proto.graph.initializer if one.name == "w/scale")
    assert list(scale.dims) == [16]


def test_the_rest_is_half_and_scales_stay_float():
    typed = quantized(DENSE, DENSE_WEIGHTS, options=PrecisionOptions())
    assert nodes(typed.model.proto)[-5:] == [
        "m = MatMul(x/dq, w/dq)",
        "a = Add(m, b)",
        "a/fp16 = Cast(a)",
        "y/fp16 = Relu(a/fp16)",
        "y = Cast(y/fp16)",
    ]
    kinds = dtypes(typed.model.proto)
    assert {kinds["x/scale"], kinds["w/scale"]} == {"FLOAT"}
    assert "FLOAT16" not in kinds.values()


def test_fp8_raises_the_opset():
    typed = quantized(DENSE, DENSE_WEIGHTS, "FP8")
    assert dtypes(typed.model.proto)["w/q"] == "FLOAT8E4M3FN"
    assert typed.model.proto.opset_import[0].version >= 19


def test_one_pair_serves_all_takers():
    text = """g (float[n, 32] x) => (float[n, 16] y, float[n, 16] z)
        { r = Relu(x)  y = MatMul(r, w)  z = MatMul(r, v) }"""
    typed = quantized(text, {"w": weight(32, 16), "v": weight(32, 16)})
    ops = [node.op_type for node in typed.model.proto.graph.node]
    assert (ops.count("QuantizeLinear"), ops.count("DequantizeLinear")) == (1, 3)
    assert nodes(typed.model.proto)[2:5] == [
        "r = Relu(x)",
        "r/q = QuantizeLinear(r, r/scale, r/zero)",
        "r/dq = DequantizeLinear(r/q, r/scale, r/zero)",
    ]


CONV = """g (float[n, 16, 8, 8] x) => (float[n, 16, 8, 8] y) {
    c = Conv<pads = [1, 1, 1, 1]>(x, w)  r = Relu(c)
    d = Conv<pads = [1, 1, 1, 1]>(r, v)  s = Add(d, x)  y = Relu(s) }"""
CONV_WEIGHTS = {"w": weight(16, 16, 3, 3), "v": weight(16, 16, 3, 3)}


def test_a_residual_block_quantizes_the_skip_only():
    typed = quantized(CONV, CONV_WEIGHTS, options=PrecisionOptions())
    assert nodes(typed.model.proto)[2:] == [
        "x/q = QuantizeLinear(x, x/scale, x/zero)",
        "x/dq = DequantizeLinear(x/q, x/scale, x/zero)",
        "c = Conv(x/dq, w/dq)",
        "r = Relu(c)",
        "r/q = QuantizeLinear(r, r/scale, r/zero)",
        "r/dq = DequantizeLinear(r/q, r/scale, r/zero)",
        "d = Conv(r/dq, v/dq)",
        "s = Add(d, x/dq)",
        "s/fp16 = Cast(s)",
        "y/fp16 = Relu(s/fp16)",
        "y = Cast(y/fp16)",
    ]


def test_convolutions_are_left_to_half_where_asked():
    options = PrecisionOptions(convolutions=False)
    typed = quantized(CONV, CONV_WEIGHTS, options=options)
    assert "QuantizeLinear" not in {node.op_type for node in typed.model.proto.graph.node}
    assert [(one.op, one.precision) for one in typed.islands] == [("Conv", "FP16")] * 2
    assert "TensorRT-RTX has no INT8" in typed.islands[0].reason


LEFT = {
    "small": ("y = MatMul(x, w)", {"w": weight(32, 8)}, "even sizes of 16 or more"),
    "odd": ("y = MatMul(x, w)", {"w": weight(32, 17)}, "even sizes"),
    "asked for": ("y = MatMul(x, w)", {"w": weight(32, 16)}, "asked for by 'matmul_*'"),
}


@pytest.mark.parametrize("case", LEFT)
def test_products_that_stay_float(case):
    body, weights, reason = LEFT[case]
    options = PrecisionOptions(keep_float=("matmul_*",) if case == "asked for" else ())
    typed = quantized(
        f"g (float[n, 32] x) => (float[n, m] y) {{ {body} }}", weights, options=options
    )
    assert "QuantizeLinear" not in {node.op_type for node in typed.model.proto.graph.node}
    assert [one.op for one in typed.islands] == ["MatMul"]
    assert reason in typed.islands[0].reason


def test_a_product_with_one_row_stays_float():
    text = "g (float[1, 32] x) => (float[1, 16] y) { y = MatMul(x, w) }"
    typed = quantized(text, {"w": weight(32, 16)})
    assert typed.islands[0].reason == "a product with one row"


ATTENTION = """g (float[n, 4, 32] q, float[n, 32, 4] k, float[n, 4, 32] v) => (float[n, 4, 32] y)
    { s = MatMul(q, k)  p = Softmax(s)  y = MatMul(p, v) }"""


@pytest.mark.parametrize("attention", [False, True])
def test_attention_is_quantized_whole_or_not_at_all(attention):
    options = PrecisionOptions(rest="FP32", attention=attention)
    typed = quantized(ATTENTION, {}, options=options)
    made = {node.output[0] for node in typed.model.proto.graph.node}
    pairs = {"q/dq", "k/dq", "p/dq", "v/dq"}
    assert pairs & made == (pairs if attention else set())


def test_a_concat_and_its_inputs_share_a_scale():
    text = """g (float[n, 16, 4, 4] a, float[n, 16, 4, 4] b)
        => (float[n, 16, 4, 4] y, float[n, 16, 4, 4] z) {
        c = Relu(a)  d = Concat<axis = 1>(c, b)  y = Conv(d, w)  z = Conv(c, v) }"""
    weights = {"w": weight(16, 32, 1, 1), "v": weight(16, 16, 1, 1)}
    typed = quantized(text, weights)
    scales = {
        one.name: onnx.numpy_helper.to_array(one)
        for one in typed.model.proto.graph.initializer
        if one.name in ("c/scale", "d/scale")
    }
    assert scales["c/scale"] == scales["d/scale"]


def test_pooling_is_quantized_once_behind():
    text = """g (float[n, 16, 4, 4] x) => (float[n, 16, 2, 2] y)
        { r = Relu(x)  p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)  y = Conv(p, w) }"""
    typed = quantized(text, {"w": weight(16, 16, 1, 1)})
    quantizers = [node for node in typed.model.proto.graph.node if node.op_type == "QuantizeLinear"]
    assert [node.input[0] for node in quantizers] == ["p"]


def test_a_dead_tensor_calibrates_to_something_finite():
    typed = quantized(DENSE, DENSE_WEIGHTS, batches=[(np.zeros((4, 32), np.float32),)])
    outputs = run_session(
        to_session(typed.model, optimize=False), typed.model, inputs_of(model(DENSE))
    )
    assert np.isfinite(outputs[0]).all()


def test_weights_round_to_their_channel_scale():
    value = np.array([[1.0, 100.0, 0.0], [-2.0, 50.0, 0.0]], np.float32)
    integers, scale = quantize_weight(value, 1, "INT8")
    np.testing.assert_allclose(scale, [2 / 127, 100 / 127, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(integers, [[64, 127, 0], [-127, 64, 0]])


def test_int4_blocks():
    value = weight(64, 16)
    integers, scale = quantize_blocks(value, 32, np.dtype(np.float16))
    assert (integers.shape, scale.shape) == ((64, 16), (2, 16))
    assert np.abs(integers).max() == 7
    np.testing.assert_array_equal(scale, scale.astype(np.float16))
    assert np.abs(integers * scale.repeat(32, axis=0) - value).max() <= scale.max() * 0.51
    np.testing.assert_array_equal(pack(np.array([1, -1, 7], np.int8)), [0xF1, 0x07])


def test_int4_weights_without_calibration():
    original = model(DENSE, DENSE_WEIGHTS | {"w": weight(32, 16)})
    typed = apply_precision(original, "INT4")
    assert nodes(typed.model.proto)[:3] == [
        "w/dq = DequantizeLinear(w/int4, w/scale/fp16)",
        "x/fp16 = Cast(x)",
        "m = MatMul(x/fp16, w/dq)",
    ]
    batch = inputs_of(original)
    (expected,) = run_session(to_session(original), original, batch)
    emulated = emulate(typed)
    (got,) = run_session(to_session(emulated, optimize=False), emulated, batch)
    assert np.sqrt(np.square(got - expected).sum() / np.square(expected).sum()) < 0.2
    odd = model(
        "g (float[n, 20] x) => (float[n, 16] y) { y = MatMul(x, w) }", {"w": weight(20, 16)}
    )
    assert apply_precision(odd, "INT4").islands[0].reason == "K = 20 is no multiple of 32"


def test_calibration_is_due_and_must_fit():
    original = model(DENSE, DENSE_WEIGHTS)
    with pytest.raises(CalibrationError, match="INT8 needs calibration"):
        apply_precision(original, "INT8")
    other = Calibrator(model(DENSE, {"w": weight(32, 16), "b": weight(16)}))
    other.add(inputs_of(original))
    with pytest.raises(CalibrationError, match="of another model"):
        apply_precision(original, "INT8", other.result())


@pytest.mark.parametrize("options", [{"calibrator": "best"}, {"rest": "INT8"}])
def test_bad_options(options):
    with pytest.raises(InvalidArgumentError):
        PrecisionOptions(**options)


@pytest.mark.skipif(
    isinstance(trt.find("tensorrt_rtx"), Unavailable), reason="tensorrt_rtx isn't installed"
)
@pytest.mark.parametrize("precision", ["INT8", "FP8"])
def test_quantized_nodes_reach_low_kernels(precision):
    text = """g (float[8, 32] x) => (float[8, 16] y)
        { a = MatMul(x, w)  b = Relu(a)  c = MatMul(b, v)  d = MatMul(c, u)  y = Softmax(d) }"""
    weights = {"w": weight(32, 64), "v": weight(64, 32), "u": weight(32, 16)}
    typed = quantized(text, weights, precision, options=PrecisionOptions())
    config = BuildConfig(flavour="tensorrt_rtx", compute_capabilities=("8.9",))
    report = report_kernels(typed, "seg", [], config)
    assert report.reached == ("matmul_0", "matmul_2", "matmul_3")
    assert report.missed == ()
    plain = report_kernels(TypedOnnx(model(text, weights), "FP32"), "seg", [], config)
    assert plain.reached == plain.missed == ()
    assert plain.layers > 0


def test_dense_einsums_become_products():
    text = """g (float[n, t, 32] x) => (float[n, t, 4, 8] y, float[n, t, 32] z) {
        y = Einsum<equation = "abc,cde->abde">(x, w)
        z = Einsum<equation = "abcd,cde->abe">(y, v) }"""
    original = model(text, {"w": weight(32, 4, 8), "v": weight(4, 8, 32)})
    prepared = prepare(original)
    ops = [node.op_type for node in prepared.proto.graph.node]
    assert ops == ["MatMul", "Reshape", "Reshape", "MatMul"]
    batch = (weight(2, 3, 32),)
    before = run_session(to_session(original), original, batch)
    after = run_session(to_session(prepared), prepared, batch)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "shape"),
    [("abc,dc->abd", (16, 32)), ("abc,cd->adb", (32, 16)), ("abc,cc->ab", (32, 32))],
)
def test_other_einsums_stay(equation, shape):
    einsum = f'Einsum<equation = "{equation}">(x, w)'
    text = f"g (float[2, 3, 32] x) => (float[i, j, k] y) {{ y = {einsum} }}"
    prepared = prepare(model(text, {"w": weight(*shape)}))
    assert [node.op_type for node in prepared.proto.graph.node] == ["Einsum"]
