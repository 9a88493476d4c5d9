"""Intervals are as wide as the data is thin."""

import numpy as np
import pytest

from tftrt_toolkit.validation.statistics import PairedBootstrap, wilson_interval


def estimate(original, converted, batch=50):
    bootstrap = PairedBootstrap(seed=1)
    for start in range(0, len(original), batch):
        bootstrap.update(original[start : start + batch], converted[start : start + batch])
    return bootstrap.estimate()


def test_agreement_on_few_inputs_proves_little():
    right = np.ones(200)
    found = estimate(right, right)
    assert found.difference == 0
    assert found.low < -0.005
    assert found.high > 0.005


def test_agreement_on_many_inputs_proves_more():
    right = np.ones(20_000)
    found = estimate(right, right, batch=1000)
    assert -0.0005 < found.low < 0 < found.high < 0.0005


def test_interval_covers_the_truth_about_19_times_in_20():
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        original = rng.random(400) < 0.9
        converted = np.where(rng.random(400) < 0.05, ~original, original)
        truth = 0.05 * (0.1 - 0.9)
        found = estimate(original.astype(float), converted.astype(float), batch=400)
        covered += found.low <= truth <= found.high
    assert 88 <= covered <= 100


def test_interval_of_values_matches_the_normal_one():
    rng = np.random.default_rng(0)
    original = rng.normal(size=1000)
    noise = rng.normal(0.1, 0.5, size=1000)
    found = estimate(original, original + noise)
    half = 1.96 * noise.std() / np.sqrt(1000)
    assert found.difference == pytest.approx(noise.mean())
    assert found.low == pytest.approx(noise.mean() - half, abs=0.2 * half)
    assert found.high == pytest.approx(noise.mean() + half, abs=0.2 * half)


def test_same_seed_same_interval():
    rng = np.random.default_rng(0)
    values = rng.random((2, 100))
    assert estimate(*values) == estimate(*values)


def test_nothing_seen_is_an_error():
    with pytest.raises(ValueError, match="no input"):
        PairedBootstrap().estimate()


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (797, 797), (500, 1000)])
def test_wilson_interval_has_width_and_holds_the_share(successes, trials):
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert high - low > 1 / (2 * trials)


def test_wilson_interval_of_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)
