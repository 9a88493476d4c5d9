"""Statistics, calibrators, the collector and its file."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.onnx_text import model
from tftrt_toolkit.errors import CalibrationError, InvalidArgumentError
from tftrt_toolkit.precision import Calibrator, load_calibrations, save_calibrations
from tftrt_toolkit.precision.histogram import BINS, EMPTY, statistics_of
from tftrt_toolkit.precision.thresholds import CALIBRATORS, QMAX, known_calibrator, threshold

RNG = np.random.default_rng(0)
DENSE = "g (float[n, 32] x) => (float[n, 16] y) { m = MatMul(x, w)  y = Relu(m) }"
WEIGHTS = {"w": RNG.normal(size=(32, 16)).astype(np.float32)}


def statistics(samples):
    """Of a list of arrays, one a sample."""
    peaks = np.array([np.abs(one).max() for one in samples], np.float32)
    return statistics_of(np.abs(np.concatenate(samples)).astype(np.float32), peaks)


def same(one, other):
    assert (one.exponent, one.amax, dict(one.peaks)) == (
        other.exponent,
        other.amax,
        dict(other.peaks),
    )
    np.testing.assert_array_equal(one.counts, other.counts)


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5), min_size=1, max_size=6
    ),
    st.randoms(use_true_random=False),
)
def test_any_order_and_any_split_give_the_same_bits(lists, random):
    samples = [np.array(one, np.float32) for one in lists]
    whole = statistics(samples)
    random.shuffle(samples)
    parts = EMPTY
    for one in samples:
        parts = parts + statistics([one])
    same(whole, parts)
    assert whole.counts.sum() == sum(map(len, samples))
    assert whole.amax <= 2.0**whole.exponent


def test_bins():
    found = statistics([np.array([0.0, 0.5, 1.0, 2.0], np.float32)])
    assert found.exponent == 1
    assert found.counts[[0, BINS // 4, BINS // 2, BINS - 1]].tolist() == [1, 1, 1, 1]


def test_values_that_are_not_finite_are_left_out():
    found = statistics([np.array([1.0, np.inf, np.nan], np.float32)])
    assert (found.amax, found.counts.sum()) == (1.0, 1)


@pytest.mark.parametrize("target", ["INT8", "FP8"])
@pytest.mark.parametrize("calibrator", CALIBRATORS)
def test_calibrators_on_usual_and_dead_tensors(calibrator, target):
    usual = statistics(list(RNG.normal(size=(200, 500))))
    assert 1.5 < threshold(usual, calibrator, target) <= usual.amax
    dead = statistics([np.zeros(5, np.float32)])
    assert threshold(dead, calibrator, target) == QMAX[target]
    assert threshold(EMPTY, calibrator, target) == QMAX[target]


def test_sample_max_leaves_out_the_wild_sample():
    samples = list(RNG.uniform(-1, 1, size=(200, 50)))
    samples[7] = samples[7] * 30
    found = statistics(samples)
    assert threshold(found, "max", "INT8") > 25
    assert 0.95 < threshold(found, "sample_max", "INT8") <= 1.02
    few = statistics(samples[:10])
    assert threshold(few, "sample_max", "INT8") == few.amax


def test_percentile_and_mse_clip_a_lone_value():
    values = RNG.normal(size=100_000)
    values[0] = 20
    found = statistics([values])
    for calibrator in ("percentile", "mse", "entropy"):
        assert threshold(found, calibrator, "INT8") < 10


def test_unknown_calibrator():
    with pytest.raises(InvalidArgumentError, match="use one of sample_max, max"):
        known_calibrator("median")


def calibrated(*batches, text=DENSE):
    calibrator = Calibrator(model(text, WEIGHTS))
    for batch in batches:
        calibrator.add((batch,))
    return calibrator


def test_the_collector_sees_what_the_model_computes():
    x = RNG.normal(size=(6, 32)).astype(np.float32)
    result = calibrated(x[:4], x[4:]).result()
    assert (result.batches, result.samples) == (2, 6)
    assert result.tensors["x"].amax == np.abs(x).max()
    assert result.tensors["x"].counts.sum() == x.size
    np.testing.assert_allclose(
        result.ranges()["y"], np.maximum(x @ WEIGHTS["w"], 0).max(), rtol=1e-5
    )
    assert result.tensors["x"].samples == 6
    assert "m" not in result.tensors  # its range is its Relu's


def test_any_order_of_batches():
    x = RNG.normal(size=(6, 32)).astype(np.float32)
    one, other = calibrated(x[:2], x[2:]).result(), calibrated(x[2:], x[:2]).result()
    same(one.tensors["x"], other.tensors["x"])


def test_large_tensors_are_drawn_from_but_peaks_are_exact():
    text = "g (float[n, 8, 64, 512] x) => (float[n, 8, 64, 64] y) { y = MatMul(x, w) }"
    x = RNG.normal(size=(2, 8, 64, 512)).astype(np.float32)
    calibrator = Calibrator(model(text, {"w": np.ones((512, 64), np.float32)}))
    calibrator.add((x,))
    found = calibrator.result().tensors["x"]
    assert found.amax == np.abs(x).max()
    assert 2 << 14 < found.counts.sum() < 2 << 16


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((), "has 0 inputs, not 1"),
        ((np.zeros((2, 31), np.float32),), r"float32\[2, 31\], but the segment takes"),
        ((np.zeros((2, 32), np.float64),), "float64"),
        ((np.full((2, 32), np.nan, np.float32),), "NaN or infinity"),
        ((np.full((2, 32), np.inf, np.float32),), "NaN or infinity"),
    ],
)
def test_bad_batches(batch, message):
    calibrator = Calibrator(model(DENSE, WEIGHTS))
    with pytest.raises(CalibrationError, match=f"calibration batch 0.*{message}"):
        calibrator.add(batch)


def test_no_batches():
    with pytest.raises(CalibrationError, match="no batch"):
        calibrated().result()


def test_the_file_is_readable_and_adds_up(tmp_path):
    x = RNG.normal(size=(6, 32)).astype(np.float32)
    parts = [calibrated(x[:3]).result(), calibrated(x[3:] * 9).result()]
    for index, part in enumerate(parts):
        save_calibrations(tmp_path / f"{index}.json", {"seg": part, "other": part})
    first, second = (load_calibrations(tmp_path / f"{index}.json") for index in (0, 1))
    whole = calibrated(x[:3], x[3:] * 9).result()
    merged = first["seg"] + second["seg"]
    assert merged.model == whole.model
    assert (merged.batches, merged.samples) == (whole.batches, whole.samples)
    for name, found in whole.tensors.items():
        same(merged.tensors[name], found)
    text = (tmp_path / "0.json").read_text()
    assert json.loads(text)["segments"]["seg"]["tensors"]["x"]["amax"] == parts[0].tensors["x"].amax
    assert sum('"amax"' in line for line in text.splitlines()) == 2 * len(parts[0].tensors)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "list").write_text("[]")
    (tmp_path / "other").write_text('{"format": "other", "version": 1}')
    save_calibrations(tmp_path / "cut", {"seg": calibrated(np.ones((2, 32), np.float32)).result()})
    (tmp_path / "cut").write_text((tmp_path / "cut").read_text()[:-20])
    negative = '"counts": [-1'
    save_calibrations(tmp_path / "bad", {"seg": calibrated(np.ones((2, 32), np.float32)).result()})
    (tmp_path / "bad").write_text((tmp_path / "bad").read_text().replace('"counts": [0', negative))
    for name in ("text", "list", "other", "cut", "bad", "missing"):
        with pytest.raises(CalibrationError) as caught:
            load_calibrations(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_calibrations_of_different_models_do_not_add_up():
    x = np.ones((2, 32), np.float32)
    other = Calibrator(model(DENSE.replace("Relu", "Tanh"), WEIGHTS))
    other.add((x,))
    with pytest.raises(CalibrationError, match="different models"):
        calibrated(x).result() + other.result()
