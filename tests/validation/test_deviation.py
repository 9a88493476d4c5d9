"""Streamed differences equal those computed at once, whatever the batches."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrt_toolkit.validation.deviation import HISTOGRAM_EDGES, ErrorStream, tensor_snr_db


def stream(original, converted, size):
    found = ErrorStream()
    for start in range(0, len(original), size):
        found.update(original[start : start + size], converted[start : start + size])
    return found.summary()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 30))
def test_figures_equal_those_of_the_whole(seed, size, count):
    rng = np.random.default_rng(seed)
    original = rng.normal(size=(count, 5)).astype(np.float32)
    converted = original + rng.normal(scale=0.01, size=original.shape).astype(np.float32)
    found = stream(original, converted, size)
    left, right = original.astype(np.float64), converted.astype(np.float64)
    error = np.abs(right - left)
    assert found.max_abs == error.max()
    assert found.mean_abs == pytest.approx(error.mean())
    assert found.scale == np.abs(left).max()
    assert found.max_scaled == pytest.approx(error.max() / np.abs(left).max())
    assert found.snr_db == pytest.approx(10 * math.log10((left**2).sum() / (error**2).sum()))
    cosine = (left * right).sum() / np.linalg.norm(left) / np.linalg.norm(right)
    assert found.cosine == pytest.approx(cosine)
    assert found.elements == original.size == sum(found.histogram) + found.zeros


def test_equal_outputs():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = stream(values, values.copy(), 2)
    assert found.snr_db == math.inf
    assert found.cosine == 1.0
    assert found.max_scaled == 0
    assert found.zeros == 12


def test_nan_in_one_model_is_counted_and_in_both_is_not():
    original = np.array([[1, np.nan, np.inf], [2, 3, 4]], np.float32)
    converted = np.array([[1, np.nan, np.inf], [2, np.nan, -np.inf]], np.float32)
    errors = ErrorStream()
    rows = errors.update(original, converted)
    assert rows.tolist() == [0, math.inf]
    assert errors.summary().nonfinite == 2
    assert errors.summary().max_abs == 0


def test_infinities_of_opposite_sign_differ():
    errors = ErrorStream()
    errors.update(np.array([np.inf], np.float32), np.array([-np.inf], np.float32))
    assert errors.summary().nonfinite == 1


def test_exact_dtypes_count_what_differs():
    errors = ErrorStream()
    rows = errors.update(np.array([[b"a", b"b"], [b"c", b"d"]], object),
                         np.array([[b"a", b"x"], [b"c", b"d"]], object))  # fmt: skip
    assert rows.tolist() == [1, 0]
    assert errors.summary().mismatched == 1
    assert errors.summary().max_abs == 0


def test_bfloat16_is_compared_by_distance():
    original = np.array([1.0, 2.0], ml_dtypes.bfloat16)
    errors = ErrorStream()
    errors.update(original, (original * ml_dtypes.bfloat16(1.5)).astype(ml_dtypes.bfloat16))
    assert errors.summary().max_abs == 1.0
    assert not errors.summary().mismatched


def test_histogram_counts_by_decimal_exponent():
    errors = ErrorStream()
    errors.update(np.zeros(3, np.float32), np.array([1e-3, 1e-3, 0], np.float32))
    counts = dict(zip(HISTOGRAM_EDGES, errors.summary().histogram, strict=False))
    assert {edge: count for edge, count in counts.items() if count} == {-3.0: 2}


def test_scalars_and_empty_outputs():
    errors = ErrorStream()
    assert errors.update(np.float32(1), np.float32(1.5)).tolist() == [0.5]
    assert errors.update(np.zeros((2, 0), np.float32), np.zeros((2, 0), np.float32)).tolist() == [
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([1.0, 2.0], math.inf),
        ([1.0, 2.0, 3.0], -math.inf),
        ([1.0, math.nan], -math.inf),
        ([1.1, 2.0], pytest.approx(10 * math.log10(5 / 0.01))),
    ],
)
def test_tensor_snr(other, expected):
    assert tensor_snr_db(np.array([1.0, 2.0]), np.array(other)) == expected
