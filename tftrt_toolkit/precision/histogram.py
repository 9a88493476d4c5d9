"""A histogram of |x| that grows in one pass, the same in any order, and adds up across machines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

BINS = 4096
# Samples' greatest values are counted in 64 steps an octave: 1.1 % wide.
_STEPS = 64
_SMALLEST = -100  # less is as good as zero, and the scale of the bins still fits a float32


@dataclasses.dataclass(frozen=True)
class TensorStatistics:
    """What calibration keeps of one tensor.

    counts: int64 [BINS] over |x| from 0 to `2 ** exponent`; values drawn evenly from each sample.
    exponent: of the histogram's range; the least that holds `amax`.
    amax: the greatest finite |x|.
    peaks: how many samples had their greatest |x| in each logarithmic step; step s ends at
      `2 ** (s / 64)`. Samples that are zero throughout are under `None`.
    """

    counts: np.ndarray
    exponent: int
    amax: float
    peaks: Mapping[int | None, int]

    @property
    def samples(self) -> int:
        """How many samples were seen."""
        return sum(self.peaks.values())

    def __add__(self, other: TensorStatistics) -> TensorStatistics:
        """The statistics of both sets of samples."""
        exponent = max(self.exponent, other.exponent)
        peaks = dict(self.peaks)
        for step, count in other.peaks.items():
            peaks[step] = peaks.get(step, 0) + count
        return TensorStatistics(
            counts=_folded(self.counts, exponent - self.exponent)
            + _folded(other.counts, exponent - other.exponent),
            exponent=exponent,
            amax=max(self.amax, other.amax),
            peaks=peaks,
        )


EMPTY = TensorStatistics(np.zeros(BINS, np.int64), _SMALLEST, 0.0, {})


def statistics_of(values: np.ndarray, peaks: np.ndarray) -> TensorStatistics:
    """Statistics of |x| drawn from some samples, and each sample's greatest |x|.

    Values that aren't finite are left out; the peak of a sample that has some is the greatest of
    the finite values drawn. values: [drawn]. peaks: [samples].
    """
    if not np.isfinite(peaks).all():
        values = values[np.isfinite(values)]
        peaks = np.where(np.isfinite(peaks), peaks, values.max(initial=0.0))
    amax = float(peaks.max(initial=0.0))
    exponent = max(math.frexp(amax)[1], _SMALLEST) if amax else _SMALLEST
    if amax == 2.0 ** (exponent - 1):
        exponent = max(exponent - 1, _SMALLEST)
    # A power of two: the product is exact, so a value falls into the same bin in any order.
    scaled = values * np.float32(2.0 ** (BINS.bit_length() - 1 - exponent))
    counts = np.bincount(np.minimum(scaled, BINS - 1).astype(np.intp), minlength=BINS)
    steps = [None if peak == 0 else math.ceil(_STEPS * math.log2(peak)) for peak in peaks.tolist()]
    table: dict[int | None, int] = {}
    for step in steps:
        table[step] = table.get(step, 0) + 1
    return TensorStatistics(counts.astype(np.int64), exponent, amax, table)


def peak_of_step(step: int) -> float:
    """The greatest value that a logarithmic step holds."""
    return 2.0 ** (step / _STEPS)


def _folded(counts: np.ndarray, times: int) -> np.ndarray:
    """The counts over a range that is `2 ** times` as wide."""
    if times >= BINS.bit_length():
        folded = np.zeros_like(counts)
        folded[0] = counts.sum()
        return folded
    folded = np.zeros_like(counts)
    folded[: BINS >> times] = counts.reshape(-1, 1 << times).sum(axis=1)
    return folded
