"""Calibrators: from a tensor's statistics to the greatest |x| that its quantized form represents.

Values beyond it are clipped; the smaller it is, the finer the steps below. Each takes the
statistics and the target type and returns a finite number, zero if the tensor was zero throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from ml_dtypes import float8_e4m3fn

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.precision.histogram import BINS, TensorStatistics, peak_of_step

DEFAULT = "sample_max"
AUTO = "auto"
QMAX = {"INT8": 127.0, "FP8": 448.0}
_PERCENTILE = 99.99
_SAMPLES_KEPT = 0.99
_FEW_SAMPLES = 16
_CANDIDATES = 120
_LEAST_FRACTION = 0.1
_ENTROPY_LEVELS = 128
_ENTROPY_STRIDE = 4

Threshold = Callable[[TensorStatistics, str], float]


def maximum(statistics: TensorStatistics, target: str) -> float:
    """The greatest |x| seen: nothing is clipped, one wild sample spoils the resolution."""
    return statistics.amax


def sample_max(statistics: TensorStatistics, target: str) -> float:
    """The greatest |x| of all samples but the wildest one in a hundred, and at least one.

    With fewer than sixteen samples none is left out.
    """
    samples = statistics.samples
    dropped = samples - math.ceil(samples * _SAMPLES_KEPT)
    if samples >= _FEW_SAMPLES:
        dropped = max(dropped, 1)
    steps = sorted((step for step in statistics.peaks if step is not None), reverse=True)
    for step in steps:
        dropped -= statistics.peaks[step]
        if dropped < 0:
            return min(peak_of_step(step), statistics.amax)
    return 0.0


def percentile(statistics: TensorStatistics, target: str) -> float:
    """The |x| below which 99.99 % of the values lie."""
    total = statistics.counts.sum()
    if not total:
        return statistics.amax
    reached = np.cumsum(statistics.counts) >= total * (_PERCENTILE / 100)
    return min((int(np.argmax(reached)) + 1) * _width(statistics), statistics.amax)


def mse(statistics: TensorStatistics, target: str) -> float:
    """The threshold with the least mean squared error of rounding and clipping."""
    counts, centres = _used_bins(statistics)
    best, least = statistics.amax, math.inf
    for fraction in np.linspace(1.0, _LEAST_FRACTION, _CANDIDATES):
        threshold = float(fraction * statistics.amax)
        error = float(counts @ np.square(centres - rounded(centres, threshold, target)))
        if error < least:
            best, least = threshold, error
    return best


def entropy(statistics: TensorStatistics, target: str) -> float:
    """The threshold whose quantized distribution is nearest, in Kullback-Leibler divergence."""
    counts, _ = _used_bins(statistics)
    if len(counts) <= _ENTROPY_LEVELS:
        return statistics.amax
    counts = counts.astype(np.float64)
    counts[0] = counts[1]  # zeros would outweigh all that is to be represented
    best, least = statistics.amax, math.inf
    for kept in [*range(_ENTROPY_LEVELS, len(counts), _ENTROPY_STRIDE), len(counts)]:
        divergence = _divergence(counts, kept)
        if divergence < least:
            best, least = kept * _width(statistics), divergence
    return min(best, statistics.amax)


CALIBRATORS: Mapping[str, Threshold] = {
    "sample_max": sample_max,
    "max": maximum,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}


def known_calibrator(name: str) -> str:
    """The name, if it is a calibrator's. Raises InvalidArgumentError if it isn't."""
    if name not in CALIBRATORS and name != AUTO:
        raise InvalidArgumentError(
            f"calibrator {name!r} is not known: use one of {', '.join([*CALIBRATORS, AUTO])}"
        )
    return name


def threshold(statistics: TensorStatistics, calibrator: str, target: str) -> float:
    """A calibrator's threshold; the type's own range where a tensor was zero throughout."""
    value = CALIBRATORS[calibrator](statistics, target)
    return value if value > 0 and math.isfinite(value) else QMAX[target]


def rounded(values: np.ndarray, threshold: float, target: str) -> np.ndarray:
    """What |x| comes back as from the quantized type."""
    scale = threshold / QMAX[target]
    scaled = np.minimum(values / scale, QMAX[target])
    if target == "FP8":
        return scaled.astype(float8_e4m3fn).astype(np.float64) * scale
    return np.round(scaled) * scale


def _width(statistics: TensorStatistics) -> float:
    return 2.0**statistics.exponent / BINS


def _used_bins(statistics: TensorStatistics) -> tuple[np.ndarray, np.ndarray]:
    """Counts up to the greatest value, and the middle of each bin."""
    used = min(math.ceil(statistics.amax / _width(statistics)), BINS)
    return statistics.counts[:used], (np.arange(used) + 0.5) * _width(statistics)


def _divergence(counts: np.ndarray, kept: int) -> float:
    """Of the first `kept` bins, all beyond clipped into the last, and their quantized form."""
    inside = counts[:kept]
    reference = inside.copy()
    reference[-1] += counts[kept:].sum()
    level = np.arange(kept) * _ENTROPY_LEVELS // kept
    mass = np.bincount(level, inside, _ENTROPY_LEVELS)
    filled = np.bincount(level, inside > 0, _ENTROPY_LEVELS)
    spread = np.where(inside > 0, (mass / np.maximum(filled, 1))[level], 0.0)
    seen = reference > 0
    if not spread.sum() or (spread[seen] == 0).any():
        return math.inf
    p, q = reference[seen] / reference.sum(), spread[seen] / spread.sum()
    return float((p * np.log(p / q)).sum())
