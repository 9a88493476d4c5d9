"""What is quantized and what isn't, rule by rule: the graph's Q/DQ pairs as text."""

import numpy as np
import onnx
import pytest

from tests.onnx_text import model, nodes
from tests.precision.test_quantize import FP32, quantized, weight
from tftrt_toolkit.precision import PrecisionOptions, apply_precision

IMAGE = "g (float[n, 16, 8, 8] x) => (float[n, c, h, w] y)"


def pairs(typed):
    """The lines that quantize or take what was quantized."""
    return [line for line in nodes(typed.model.proto) if "/q" in line or "/dq" in line]


def scale_of(typed, name):
    (tensor,) = [one for one in typed.model.proto.graph.initializer if one.name == name]
    return list(tensor.dims)


QUANTIZED = {
    "a depthwise convolution": (
        f"{IMAGE} {{ y = Conv<group = 16>(x, w) }}",
        {"w": weight(16, 1, 3, 3)},
        "y = Conv(x/dq, w/dq)",
        [16],
    ),
    "a product with a transposed weight": (
        "g (float[n, 32] x) => (float[n, 16] y) { y = Gemm<transB = 1>(x, w, b) }",
        {"w": weight(16, 32), "b": weight(16)},
        "y = Gemm(x/dq, w/dq, b)",
        [16],
    ),
    "a product": (
        "g (float[n, 32] x) => (float[n, 24] y) { y = MatMul(x, w) }",
        {"w": weight(32, 24)},
        "y = MatMul(x/dq, w/dq)",
        [24],
    ),
}


@pytest.mark.parametrize("case", QUANTIZED)
def test_one_scale_a_tensor_and_one_an_output_channel(case):
    text, weights, product, channels = QUANTIZED[case]
    typed = quantized(text, weights)
    assert pairs(typed) == [
        "w/dq = DequantizeLinear(w/q, w/scale, w/zero)",
        "x/q = QuantizeLinear(x, x/scale, x/zero)",
        "x/dq = DequantizeLinear(x/q, x/scale, x/zero)",
        product,
    ]
    assert (scale_of(typed, "x/scale"), scale_of(typed, "w/scale")) == ([], channels)


LEFT = {
    "few output channels": ("y = Conv(x, w)", (8, 16, 1, 1), "even, 16 or more are due"),
    "odd channels": ("y = Conv(x, w)", (17, 16, 1, 1), "even, 16 or more are due"),
    "groups": ("y = Conv<group = 2>(x, w)", (16, 8, 1, 1), "a grouped convolution (2 groups)"),
}


@pytest.mark.parametrize("case", LEFT)
def test_convolutions_that_stay_float(case):
    body, shape, reason = LEFT[case]
    typed = quantized(f"{IMAGE} {{ {body} }}", {"w": weight(*shape)})
    assert pairs(typed) == []
    assert reason in typed.islands[0].reason


def test_transposed_convolutions_stay_float():
    typed = quantized(f"{IMAGE} {{ y = ConvTranspose(x, w) }}", {"w": weight(16, 16, 2, 2)})
    assert pairs(typed) == []


EPILOGUES = {
    "a bias": "y = Add(c, b)",
    "a Relu": "y = Relu(c)",
    "a Clip": "y = Clip(c, low, high)",
    "a Swish": "s = Sigmoid(c)  y = Mul(s, c)",
    "a normalization": "y = BatchNormalization(c, scale, b, mean, var)",
}


@pytest.mark.parametrize("case", EPILOGUES)
def test_nothing_is_quantized_within_an_epilogue(case):
    constants = {
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "b": weight(16, 1, 1) if case == "a bias" else weight(16),
        **{name: np.abs(weight(16)) + 1 for name in ("scale", "mean", "var")},
    }
    text = f"{IMAGE} {{ c = Conv(x, w)  {EPILOGUES[case]}  }}"
    typed = quantized(text, {"w": weight(16, 16, 1, 1), **constants})
    quantizers = [one for one in typed.model.proto.graph.node if one.op_type == "QuantizeLinear"]
    assert [one.input[0] for one in quantizers] == ["x"]


def test_between_two_convolutions_only_what_the_second_takes_is_quantized():
    text = f"{IMAGE} {{ c = Conv(x, w)  s = Sigmoid(c)  m = Mul(s, c)  y = Conv(m, v) }}"
    weights = {"w": weight(16, 16, 1, 1), "v": weight(16, 16, 1, 1)}
    typed = quantized(text, weights, options=PrecisionOptions())
    assert nodes(typed.model.proto)[2:] == [
        "x/q = QuantizeLinear(x, x/scale, x/zero)",
        "x/dq = DequantizeLinear(x/q, x/scale, x/zero)",
        "c = Conv(x/dq, w/dq)",
        "s = Sigmoid(c)",
        "m = Mul(s, c)",
        "m/q = QuantizeLinear(m, m/scale, m/zero)",
        "m/dq = DequantizeLinear(m/q, m/scale, m/zero)",
        "y = Conv(m/dq, v/dq)",
    ]


SUMS = {
    "of two inputs": "c = Relu(x)  y = Add(c, x)",
    "of a constant": "c = Conv(x, w)  y = Add(c, b)",
    "of a convolution that others take too": "c = Conv(x, w)  s = Add(c, x)  y = Add(s, c)",
}


@pytest.mark.parametrize("case", SUMS)
def test_sums_that_are_no_residual_branch(case):
    weights = {"w": weight(16, 16, 1, 1), "b": weight(16, 8, 8)}
    typed = quantized(f"{IMAGE} {{ {SUMS[case]} }}", weights)
    adds = [node for node in typed.model.proto.graph.node if node.op_type == "Add"]
    assert adds
    assert not any("/dq" in name for node in adds for name in node.input)


NORMALIZED = """g (float[n, 4, 32] x) => (float[n, 4, 32] y) {
    l = LayerNormalization(x, scale, b)  s = Softmax(l)
    d = Div(s, root)  e = Erf(d)  p = Add(e, one)  h = Mul(p, half)  y = Mul(s, h) }"""


def test_normalizations_softmax_and_gelu_stay_float():
    numbers = {"root": 2**0.5, "one": 1.0, "half": 0.5}
    constants = {name: np.array(value, np.float32) for name, value in numbers.items()}
    typed = quantized(NORMALIZED, {"scale": weight(32), "b": weight(32), **constants})
    assert pairs(typed) == []


def test_a_concat_of_what_is_not_quantized_keeps_its_own_scale():
    text = """g (float[n, 16, 4, 4] a, float[n, 16, 4, 4] b) => (float[n, 16, 4, 4] y)
        { c = Concat<axis = 1>(a, b)  y = Conv(c, w) }"""
    typed = quantized(text, {"w": weight(16, 32, 1, 1)})
    quantizers = [one for one in typed.model.proto.graph.node if one.op_type == "QuantizeLinear"]
    assert [one.input[0] for one in quantizers] == ["c"]


def test_rtx_keeps_products_quantized_beside_its_convolutions():
    text = """g (float[n, 16, 4, 4] x) => (float[n, 16] y)
        { c = Conv(x, w)  p = GlobalAveragePool(c)  f = Flatten(p)  y = MatMul(f, v) }"""
    options = PrecisionOptions(convolutions=False)
    typed = quantized(text, {"w": weight(16, 16, 1, 1), "v": weight(16, 16)}, options=options)
    assert "f/q = QuantizeLinear(f/fp32, f/scale, f/zero)" in pairs(typed)
    assert "c = Conv(x/fp16, w/fp16)" in nodes(typed.model.proto)


@pytest.mark.parametrize(("depth", "reason"), [(64, None), (40, "no multiple of 32")])
def test_four_bit_blocks_lie_along_the_summed_dimension(depth, reason):
    text = f"g (float[n, {depth}] x) => (float[n, 16] y) {{ y = MatMul(x, w) }}"
    typed = apply_precision(model(text, {"w": weight(depth, 16)}), "INT4")
    if reason:
        assert reason in typed.islands[0].reason
        return
    (dequantize,) = [one for one in typed.model.proto.graph.node if "Dequantize" in one.op_type]
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in dequantize.attribute}
    assert attributes["axis"] == 0
    assert attributes["block_size"] in (32, 64, 128)


def test_the_rest_may_stay_fp32():
    text = "g (float[n, 32] x) => (float[n, 16] y) { m = MatMul(x, w)  y = Tanh(m) }"
    typed = quantized(text, {"w": weight(32, 16)}, options=FP32)
    assert not any("Cast" in line for line in nodes(typed.model.proto))
