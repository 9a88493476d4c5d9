"""Limits are held, and the documented ones are the real ones."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.validation import DEFAULT_TOLERANCES
from tftrt_toolkit.validation.deviation import ErrorStream
from tftrt_toolkit.validation.statistics import PairedEstimate
from tftrt_toolkit.validation.tolerances import default_tolerance, judge_drop, judge_output

DOCS = Path(__file__).parents[2] / "docs" / "validation.md"


def row(name, limits):
    return (
        f"| {name} | {limits.max_scaled:g} | {limits.min_snr_db:g} | {100 * limits.min_top1:g} % | "
        f"{100 * limits.max_mismatch:g} % | {100 * limits.max_drop:g} points |"
    )


def test_documented_tolerances_are_the_real_ones():
    rows = "\n".join(row(name, limits) for name, limits in DEFAULT_TOLERANCES.items())
    assert rows in DOCS.read_text(), f"docs/validation.md is stale, put in:\n{rows}"


def test_lower_precisions_are_allowed_more():
    order = [DEFAULT_TOLERANCES[name] for name in ("FP32", "FP16", "BF16", "INT8", "FP8", "INT4")]
    for higher, lower in itertools.pairwise(order):
        assert higher.max_scaled < lower.max_scaled
        assert higher.min_snr_db > lower.min_snr_db
        assert higher.min_top1 > lower.min_top1
        assert higher.max_drop <= lower.max_drop


def errors(original, converted):
    stream = ErrorStream()
    stream.update(np.asarray(original), np.asarray(converted))
    return stream.summary()


@pytest.mark.parametrize(
    ("original", "converted", "words"),
    [
        ([1.0, -2.0], [1.0, -2.0], []),
        ([1.0, -2.0], [1.0, np.nan], ["NaN"]),
        ([1.0, -2.0], [1.0, -2.1], ["of the scale", "SNR"]),
        ([1, 2], [1, 3], ["1 of 2 values differ"]),
        ([1, 2], [1, 2], []),
    ],
)
def test_judge_output(original, converted, words):
    found = judge_output(errors(original, converted), None, default_tolerance("fp32"))
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


@pytest.mark.parametrize(
    ("difference", "low", "fails", "warns"),
    [(-0.02, -0.03, True, False), (-0.005, -0.02, False, True), (0.01, -0.001, False, False)],
)
def test_judge_drop(difference, low, fails, warns):
    estimate = PairedEstimate(0.9, 0.9 + difference, difference, low, 0.02, 100)
    failures, warnings = judge_drop(estimate, 0.01)
    assert (bool(failures), bool(warnings)) == (fails, warns)


def test_unknown_precision():
    with pytest.raises(InvalidArgumentError, match="FP32, FP16"):
        default_tolerance("FP12")
