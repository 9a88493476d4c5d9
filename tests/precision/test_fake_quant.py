"""Quantization-aware models: from TensorFlow's fake quantization to pairs with their own ranges."""

import numpy as np
import pytest
import tensorflow as tf

from tests import segments
from tests.onnx_text import model, nodes
from tftrt_toolkit.artifacts import TypedOnnx
from tftrt_toolkit.export import export_segment
from tftrt_toolkit.onnx_model import run_session, to_session
from tftrt_toolkit.precision import PrecisionOptions, apply_precision, emulate

RNG = np.random.default_rng(0)
FP32 = PrecisionOptions(rest="FP32")
fake_quant = tf.quantization.fake_quant_with_min_max_vars
per_channel = tf.quantization.fake_quant_with_min_max_vars_per_channel


def exported(function, *shapes):
    graph, segment = segments.freeze(function, [tf.TensorSpec(shape) for shape in shapes])
    return export_segment(graph, segment)


def run(onnx, *inputs):
    return run_session(to_session(onnx, optimize=False), onnx, inputs)[0]


@pytest.mark.parametrize(
    ("low", "high", "options"),
    [
        (-1.0, 1.0, {}),
        (0.0, 6.0, {}),
        (-0.3, 2.1, {}),
        (-0.3, 2.1, {"narrow_range": True}),
        (-0.3, 2.1, {"num_bits": 4}),
    ],
)
def test_the_float_form_takes_the_same_steps(low, high, options):
    onnx = exported(lambda x: fake_quant(x, low, high, **options), (None, 64))
    x = RNG.normal(size=(50, 64)).astype(np.float32) * 2
    expected = fake_quant(x, low, high, **options)
    np.testing.assert_allclose(run(onnx, x), expected, rtol=1e-6, atol=1e-7)
    assert not {"QuantizeLinear", "DequantizeLinear"} & {n.op_type for n in onnx.proto.graph.node}


WEIGHT = RNG.normal(size=(32, 16)).astype(np.float32)
WIDE = np.abs(WEIGHT).max(axis=0)


def dense(x):
    w = per_channel(tf.constant(WEIGHT), -WIDE, WIDE, narrow_range=True)
    return tf.nn.relu(tf.matmul(fake_quant(x, -2.0, 1.5), w))


def test_a_product_gets_its_own_ranges_without_calibration():
    onnx = exported(dense, (None, 32))
    typed = apply_precision(onnx, "INT8", options=FP32)
    assert [node.op_type for node in typed.model.proto.graph.node] == [
        "DequantizeLinear",
        "QuantizeLinear",
        "DequantizeLinear",
        "MatMul",
        "Relu",
    ]
    values = {
        tensor.name: np.frombuffer(tensor.raw_data, np.float32)
        for tensor in typed.model.proto.graph.initializer
        if tensor.name.endswith("/scale")
    }
    scalar = next(value for value in values.values() if value.size == 1)
    channels = next(value for value in values.values() if value.size == 16)
    # The range was moved so that zero is a step: by less than a step of (1.5 + 2) / 255.
    np.testing.assert_allclose(scalar * 127, 2.0, atol=3.5 / 255)
    np.testing.assert_allclose(channels * 127, WIDE, rtol=1e-5)
    x = RNG.uniform(-2, 1.5, size=(20, 32)).astype(np.float32)
    expected = dense(tf.constant(x)).numpy()
    error = np.abs(run(typed.model, x) - expected).max() / np.abs(expected).max()
    assert error < 0.01


def test_a_convolution_gets_its_own_ranges():
    kernel = RNG.normal(size=(3, 3, 32, 16)).astype(np.float32)  # large: it isn't folded early
    wide = np.abs(kernel).max(axis=(0, 1, 2))

    def convolve(x):
        w = per_channel(tf.constant(kernel), -wide, wide, narrow_range=True)
        return tf.nn.relu(tf.nn.conv2d(fake_quant(x, 0.0, 1.0), w, 1, "SAME"))

    typed = apply_precision(exported(convolve, (None, 8, 8, 32)), "INT8", options=FP32)
    conv = next(node for node in typed.model.proto.graph.node if node.op_type == "Conv")
    made = {node.output[0]: node.op_type for node in typed.model.proto.graph.node}
    assert [made[name] for name in conv.input[:2]] == ["DequantizeLinear"] * 2
    assert typed.islands == ()
    x = RNG.uniform(0, 1, size=(2, 8, 8, 32)).astype(np.float32)
    expected = convolve(tf.constant(x)).numpy()
    assert np.abs(run(typed.model, x) - expected).max() / np.abs(expected).max() < 0.02


@pytest.mark.parametrize("precision", ["FP16", "BF16"])
def test_other_modes_keep_the_arithmetic(precision):
    typed = apply_precision(exported(dense, (None, 32)), precision)
    assert "QuantizeLinear" not in {node.op_type for node in typed.model.proto.graph.node}
    x = RNG.uniform(-2, 1.5, size=(20, 32)).astype(np.float32)
    expected = dense(tf.constant(x)).numpy()
    got = run(emulate(TypedOnnx(typed.model, precision)), x)
    assert np.abs(got - expected).max() / np.abs(expected).max() < 0.05


def test_products_outside_of_fake_quantization_stay_float():
    other = RNG.normal(size=(16, 16)).astype(np.float32)

    def two(x):
        return tf.matmul(tf.nn.relu(dense(x)), tf.constant(other))

    typed = apply_precision(exported(two, (None, 32)), "INT8", options=FP32)
    assert [(one.op, one.reason) for one in typed.islands] == [
        ("MatMul", "no range is known of what it takes")
    ]


@pytest.mark.parametrize(
    "change",
    [("Floor(e)", "Ceil(e)"), ("Add(d, half)", "Add(d, low)"), ("Mul(c, inv)", "Mul(c, step)")],
)
def test_what_is_no_fake_quantization_stays(change):
    body = """a = Max(x, low)  b = Min(a, high)  c = Sub(b, low)  d = Mul(c, inv)
        e = Add(d, half)  f = Floor(e)  g = Mul(f, step)  y = Add(g, low)"""
    constants = {"low": -1.0, "high": 1.0, "inv": 127.5, "half": 0.5, "step": 1 / 127.5}
    weights = {name: np.array(value, np.float32) for name, value in constants.items()}
    text = "g (float[2, 8] x) => (float[2, 8] y) {{ {} }}"
    found = apply_precision(model(text.format(body), weights), "INT8", options=FP32)
    assert nodes(found.model.proto) == [
        "y/q = QuantizeLinear(x, y/scale, y/zero)",
        "y = DequantizeLinear(y/q, y/scale, y/zero)",
    ]
    original = model(text.format(body.replace(*change)), weights)
    with pytest.raises(ValueError, match="INT8 needs calibration"):
        apply_precision(original, "INT8", options=FP32)
