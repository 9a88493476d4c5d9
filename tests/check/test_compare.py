import re

import numpy as np
import pytest

from tftrt_toolkit.check.compare import BOUND, difference


def f32(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("expected", "actual", "ratio"),
    [
        (f32(1, -4), f32(1, -4), 0.0),
        (f32(1, -4), f32(1, -3), 0.25),
        (f32(0, 0), f32(0, 0), 0.0),
        (f32(np.nan, np.inf, 2), f32(np.nan, np.inf, 1), 0.5),
        (np.array([2], np.int64), np.array([2], np.int64), 0.0),
        (np.array([b"a"], object), np.array(["a"], object), 0.0),
        (np.zeros([0], np.float32), np.zeros([0], np.float32), 0.0),
    ],
)
def test_ratio(expected, actual, ratio):
    assert difference("t:0", expected, actual).ratio == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("expected", "actual", "words"),
    [
        (f32(0), f32(1e-9), "differs by 1e-09"),
        (f32(1), f32(np.nan), "NaN or Inf where TensorFlow has a number"),
        (f32(np.inf), f32(1), "NaN or Inf where TensorFlow has another value"),
        (f32(np.inf), f32(-np.inf), "another value"),
        (f32(1, 2), f32(1), r"shape is \[1\] instead of \[2\]"),
        (f32(1), np.ones(1), "dtype is float64 instead of float32"),
        (np.array([1, 2, 3]), np.array([1, 2, 4]), "1 of 3 values differ"),
        (np.array([True]), np.array([False]), "1 of 1 values differ"),
    ],
)
def test_out_of_any_bound(expected, actual, words):
    found = difference("t:0", expected, actual)
    assert found.ratio == np.inf

    assert re.search(words, found.words)


def test_float16_is_measured_in_its_own_rounding():
    half = np.array([1, 1.001], np.float16)
    assert 0 < difference("t:0", half, np.array([1, 1], np.float16)).ratio < BOUND
