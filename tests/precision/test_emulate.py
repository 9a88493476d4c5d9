"""Emulation shows what the types do, overflow above all."""

import numpy as np
import onnx
import pytest

from tests.onnx_text import model, nodes
from tftrt_toolkit.artifacts import TypedOnnx
from tftrt_toolkit.onnx_model import run_session, to_proto, to_session
from tftrt_toolkit.precision import apply_precision, emulate


def emulated(typed, *inputs):
    copy = emulate(typed)
    onnx.checker.check_model(to_proto(copy), full_check=True)
    return run_session(to_session(copy, optimize=False), copy, inputs)


def test_each_result_is_rounded():
    typed = apply_precision(
        model("g (float[2] x) => (float[2] y) { a = Tanh(x)  y = Mul(a, x) }"), "FP16"
    )
    assert nodes(emulate(typed).proto) == [
        "x/fp16/raw = Cast(x)",
        "x/fp16/low = Cast(x/fp16/raw)",
        "x/fp16 = Cast(x/fp16/low)",
        "a/raw = Tanh(x/fp16)",
        "a/low = Cast(a/raw)",
        "a = Cast(a/low)",
        "y/fp16/raw = Mul(a, x/fp16)",
        "y/fp16/low = Cast(y/fp16/raw)",
        "y/fp16 = Cast(y/fp16/low)",
        "y = Cast(y/fp16)",
    ]


def test_an_overflow_in_between_is_seen():
    text = """g (float[1, 4] x) => (float[1, 4] y) <float down = {0.001}>
        { s = Mul(x, x)  y = Mul(s, down) }"""
    x = np.full((1, 4), 300, np.float32)
    typed = apply_precision(model(text), "FP16")
    (y,) = emulated(typed, x)
    assert np.isinf(y).all()
    (y,) = emulated(apply_precision(model(text), "BF16"), x)
    np.testing.assert_allclose(y, 90, rtol=0.01)


@pytest.mark.parametrize(("precision", "step"), [("FP16", 2**-10), ("BF16", 2**-7)])
def test_the_step_of_the_type(precision, step):
    typed = apply_precision(model("g (float[3] x) => (float[3] y) { y = Add(x, x) }"), precision)
    (y,) = emulated(typed, np.array([0.5, 0.5 + step / 2, 0.5 + step / 8], np.float32))
    np.testing.assert_array_equal(y, [1, 1 + step, 1])


def test_a_model_without_low_types_is_itself():
    typed = apply_precision(model("g (float[3] x) => (float[3] y) { y = Add(x, x) }"), "FP32")
    assert emulate(typed) is typed.model


def test_half_inputs_and_outputs_stay_half():
    text = "g (float16[2] x) => (float16[2] y, float16[2] z) { y = Mul(x, x)  z = Tanh(y) }"
    y, z = emulated(TypedOnnx(model(text), "FP32"), np.array([2.0, 300.0], np.float16))
    assert (y.dtype, z.dtype) == (np.float16, np.float16)
    np.testing.assert_array_equal(y, np.array([4.0, np.inf], np.float16))
    np.testing.assert_array_equal(z[1], 1.0)
