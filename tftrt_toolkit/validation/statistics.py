"""How sure a difference between two models is, from one pass and constant memory.

The Poisson bootstrap gives each input, in each of a thousand resampled data sets, a weight drawn
from Poisson(1) instead of drawing the data set itself; only sums are kept.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

REPLICATES = 1000
CONFIDENCE = 0.95
# The normal distribution's quantile for CONFIDENCE, two-sided.
_Z = 1.959964
# Draws at a time, so that large batches don't need much memory.
_CHUNK = 4096


@dataclasses.dataclass(frozen=True)
class PairedEstimate:
    """A mean over the inputs for both models, and the difference with its 95 % interval.

    difference, low, high: converted minus original. samples: inputs (or batches) seen.
    """

    original: float
    converted: float
    difference: float
    low: float
    high: float
    samples: int


class PairedBootstrap:
    """Streams one value an input of each model, and resamples the inputs.

    Where all values are 0 or 1, as for right and wrong answers, two imaginary inputs of half a
    weight each are resampled too: one that only the original has right, one that only the converted
    has. Without them, 200 inputs on which both agree would seem to prove a difference of zero.
    `samples` counts what was added.
    """

    def __init__(self, seed: int = 0) -> None:
        """Start with nothing; `seed` fixes the resampling."""
        self._rng = np.random.default_rng(seed)
        self._weights = np.zeros(REPLICATES)
        self._differences = np.zeros(REPLICATES)
        self._original = self._converted = 0.0
        self.samples = 0
        self._binary = True

    def update(self, original: np.ndarray, converted: np.ndarray) -> None:
        """Add values [n] of n inputs."""
        original = np.asarray(original, np.float64).reshape(-1)
        converted = np.asarray(converted, np.float64).reshape(-1)
        for start in range(0, len(original), _CHUNK):
            chunk = (converted - original)[start : start + _CHUNK]
            weights = self._rng.poisson(1.0, (len(chunk), REPLICATES))
            self._weights += weights.sum(axis=0)
            self._differences += chunk @ weights
        self._original += float(original.sum())
        self._converted += float(converted.sum())
        self.samples += len(original)
        self._binary &= bool(np.isin(original, (0, 1)).all() and np.isin(converted, (0, 1)).all())

    def estimate(self) -> PairedEstimate:
        """The result so far. Raises ValueError if nothing was added."""
        if not self.samples:
            raise ValueError("no input was seen")
        weights, differences = self._weights, self._differences
        if self._binary:
            rng = np.random.default_rng(self.samples)
            imaginary = rng.poisson(0.5, (2, REPLICATES))
            weights = weights + imaginary.sum(axis=0) + 1
            differences = differences + imaginary[0] - imaginary[1]
        means = differences / np.maximum(weights, 1)
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(means, (tail, 1 - tail))
        original, converted = self._original / self.samples, self._converted / self.samples
        difference = converted - original
        return PairedEstimate(
            original,
            converted,
            difference,
            min(float(low), difference),
            max(float(high), difference),
            self.samples,
        )


def normal_estimate(
    original: float, converted: float, replicates: np.ndarray, samples: int
) -> PairedEstimate:
    """An interval from the spread of a few resampled differences, taken as normal."""
    half = _Z * float(np.std(replicates, ddof=1))
    difference = converted - original
    return PairedEstimate(
        original, converted, difference, difference - half, difference + half, samples
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share: never of zero width, even at 0 or 100 %."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    spread = _Z**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / trials + spread / trials / 4) / (1 + spread)
    return max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0)
