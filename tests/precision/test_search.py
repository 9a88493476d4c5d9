"""The accuracy budget, the choice of a calibrator, the precision file, the sparsity check."""

import dataclasses

import numpy as np
import pytest

from tests.onnx_text import model
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError
from tftrt_toolkit.precision import (
    Calibrator,
    Override,
    PrecisionOptions,
    apply_precision,
    check_sparsity,
    load_overrides,
    meet_budget,
    resolve_calibrator,
    save_overrides,
    with_overrides,
)

RNG = np.random.default_rng(0)
# The second product's weight has one huge value a channel, so INT8 ruins its others; the huge ones
# themselves meet nothing but zeros.
TEXT = """g (float[n, 32] x) => (float[n, 32] y)
    { a = MatMul(x, w)  t = Tanh(a)  b = MatMul(t, v)  c = Tanh(b)  y = MatMul(c, u) }"""
WEIGHTS = {name: (RNG.normal(size=(32, 32)) * 0.3).astype(np.float32) for name in ("w", "v", "u")}
WEIGHTS["v"][0] = 60
WEIGHTS["w"][:, 0] = 0
X = np.concatenate([RNG.normal(size=(64, 32)), np.zeros((1, 32))]).astype(np.float32)


@pytest.fixture(scope="module")
def quantizable():
    original = model(TEXT, WEIGHTS)
    calibrator = Calibrator(original)
    calibrator.add((X,))
    return original, calibrator.result()


def test_the_guilty_node_is_found(quantizable):
    original, calibration = quantizable
    options = PrecisionOptions(rest="FP32")
    all_errors = meet_budget(
        original, "INT8", 1e9, [(X,)], calibration=calibration, options=options
    )
    budget = all_errors.first_error / 2
    found = meet_budget(
        original, "INT8", budget, [(X,)], segment="seg", calibration=calibration, options=options
    )
    assert all_errors.overrides == ()
    assert [one.node for one in found.overrides] == ["matmul_2"]
    assert found.overrides[0].segment == "seg"
    assert found.error <= budget < found.first_error
    typed = apply_precision(original, "INT8", calibration, found.options)
    assert {one.node for one in typed.islands} == {"matmul_2"}


def test_an_fp16_overflow_is_kept_away():
    text = """g (float[1, 4] x) => (float[1, 4] y) <float down = {0.001}>
        { t = Tanh(x)  s = Mul(x, x)  d = Mul(s, down)  y = Add(d, t) }"""
    x = np.full((1, 4), 300, np.float32)
    found = meet_budget(model(text), "FP16", 0.01, [(x,)])
    assert found.first_error == np.inf
    assert {one.node for one in found.overrides} == {"mul_1", "mul_2"}
    assert {one.precision for one in found.overrides} == {"FP32"}
    assert found.error <= 0.01


def test_a_budget_that_cannot_be_met(quantizable):
    original, calibration = quantizable
    with pytest.raises(ConversionError, match="no choice of nodes meets max_error=1e-09"):
        meet_budget(original, "INT8", 1e-9, [(X,)], calibration=calibration)


@pytest.mark.parametrize(
    ("max_error", "batches", "message"),
    [(0.1, [], "needs batches"), (0.0, [(X,)], "max_error=0 must be positive")],
)
def test_a_budget_without_data_or_bound(quantizable, max_error, batches, message):
    with pytest.raises(InvalidArgumentError, match=message):
        meet_budget(quantizable[0], "FP16", max_error, batches)


def test_auto_takes_the_calibrator_with_the_least_error(quantizable):
    original, _ = quantizable
    calibrator = Calibrator(original)
    wild = X.copy()
    wild[5] *= 1000
    calibrator.add((wild,))
    calibration = calibrator.result()
    auto = PrecisionOptions(calibrator="auto", rest="FP32")
    chosen = resolve_calibrator(original, "INT8", calibration, [(X,)], auto)
    assert chosen.calibrator not in ("auto", "max")
    assert resolve_calibrator(original, "INT8", calibration, [], chosen) is chosen
    with pytest.raises(InvalidArgumentError, match="compares results on data"):
        resolve_calibrator(original, "INT8", calibration, [], auto)
    with pytest.raises(InvalidArgumentError, match="must be resolved"):
        apply_precision(original, "INT8", calibration, auto)


def test_the_precision_file(tmp_path):
    lines = [
        Override("TRTEngineOp_000_*", "encoder/norm*", "FP32", "adds 0.1 relative error"),
        Override("*", "head/MatMul", "FP16"),
    ]
    save_overrides(tmp_path / "precision", lines)
    assert load_overrides(tmp_path / "precision") == lines
    options = with_overrides(PrecisionOptions(keep_fp32=("x",)), lines, "TRTEngineOp_000_001")
    assert options == dataclasses.replace(
        PrecisionOptions(), keep_fp32=("x", "encoder/norm*"), keep_float=("head/MatMul",)
    )
    other = with_overrides(PrecisionOptions(), lines, "TRTEngineOp_001_000")
    assert other.keep_fp32 == ()


@pytest.mark.parametrize("line", ["a b", "a b c", "a b INT8", "a b FP32 more"])
def test_bad_lines(tmp_path, line):
    (tmp_path / "precision").write_text(f"# header\n\n{line}\n")
    with pytest.raises(InvalidArgumentError, match="line 3"):
        load_overrides(tmp_path / "precision")
    with pytest.raises(InvalidArgumentError, match="can't be read"):
        load_overrides(tmp_path / "missing")


def test_two_to_four_sparsity():
    sparse = np.tile(np.array([1, 0, 0, 2], np.float32), 8)[:, np.newaxis] * np.ones((1, 16))
    almost = sparse.copy()
    almost[1, 3] = 5
    text = """g (float[n, 32] x, float[n, 8, 4, 4] i)
        => (float[n, 16] y, float[n, 16] z, float[n, 4, 4, 4] c) {
        y = MatMul(x, w)  z = Gemm<transB = 1>(x, v)  c = Conv(i, k) }"""
    kernel = np.zeros((4, 8, 1, 1), np.float32)
    kernel[:, ::4] = 1
    weights = {
        "w": almost.astype(np.float32),
        "v": np.ascontiguousarray(sparse.T).astype(np.float32),
        "k": kernel,
    }
    found = check_sparsity(model(text, weights))
    assert [(one.op, one.qualifies) for one in found] == [
        ("MatMul", False),
        ("Gemm", True),
        ("Conv", True),
    ]
    assert (found[0].groups, found[0].sparse) == (128, 127)
