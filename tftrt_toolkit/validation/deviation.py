"""How far a converted model's output is from the original's: streaming, in constant memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# |error| is counted by its decimal exponent: from 1e-16 to 1e8 in quarter decades.
HISTOGRAM_EDGES = tuple(float(edge) for edge in np.arange(-16.0, 8.25, 0.25))
# Relative errors of values smaller than this share of the batch's largest are taken of that.
_RELATIVE_FLOOR = 1e-3


@dataclasses.dataclass(frozen=True)
class ErrorSummary:
    """The differences of one output over all inputs; errors are converted minus original.

    max_abs, mean_abs: of |error|. max_rel, mean_rel: of |error / original|, where originals below
      a thousandth of their batch's largest count as that. max_scaled: max_abs as a share of
      `scale`, the greatest |original|.
    cosine: of the two outputs as vectors. snr_db: 10 log10 of the original's power over the
      error's; infinite where they are equal.
    nonfinite: values that are NaN or infinite in one model only, or differently; they are in no
      other figure.
    mismatched: values of other dtypes than float (strings, integers, bools) that aren't equal.
    histogram: counts between HISTOGRAM_EDGES (powers of ten of |error|); `zeros`: exactly equal.
    """

    elements: int
    scale: float
    max_abs: float
    mean_abs: float
    max_rel: float
    mean_rel: float
    max_scaled: float
    cosine: float
    snr_db: float
    nonfinite: int
    mismatched: int
    zeros: int
    histogram: tuple[int, ...]


class ErrorStream:
    """Adds batch after batch of one output."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._elements = self._finite = self._nonfinite = self._mismatched = self._zeros = 0
        self._scale = self._max_abs = self._max_rel = 0.0
        self._sum_abs = self._sum_rel = 0.0
        self._original_power = self._converted_power = self._error_power = self._product = 0.0
        self._histogram = np.zeros(len(HISTOGRAM_EDGES) - 1, np.int64)

    def update(self, original: np.ndarray, converted: np.ndarray) -> np.ndarray:
        """Add a batch of equal shapes; returns each input's error, shape [batch].

        An input's error is its greatest |error|; infinite where one model alone is NaN or infinite,
        and the count of values that differ where the dtype isn't float.
        """
        self._elements += original.size
        if not is_float(original):
            return self._exact(original, converted)
        left, right = original.astype(np.float64), converted.astype(np.float64)
        same = np.isfinite(left) & np.isfinite(right)
        odd = ~same & ~((left == right) | (np.isnan(left) & np.isnan(right)))
        self._nonfinite += int(odd.sum())
        error = np.zeros_like(left)
        np.subtract(right, left, out=error, where=same)
        self._add_finite(left[same], right[same], np.abs(error[same]))
        return _per_input(np.where(odd, np.inf, np.abs(error)))

    def _exact(self, original: np.ndarray, converted: np.ndarray) -> np.ndarray:
        wrong = original != converted
        self._mismatched += int(wrong.sum())
        self._zeros += int(original.size - wrong.sum())
        return wrong.reshape(_rows(wrong), -1).sum(axis=1).astype(np.float64)

    def _add_finite(self, left: np.ndarray, right: np.ndarray, error: np.ndarray) -> None:
        if not left.size:
            return
        size = np.abs(left)
        largest = float(size.max())
        self._finite += left.size
        self._scale = max(self._scale, largest)
        self._max_abs = max(self._max_abs, float(error.max()))
        self._sum_abs += float(error.sum())
        floor = _RELATIVE_FLOOR * largest or np.finfo(np.float32).tiny
        relative = error / np.maximum(size, floor)
        self._max_rel = max(self._max_rel, float(relative.max()))
        self._sum_rel += float(relative.sum())
        self._original_power += float(left @ left)
        self._converted_power += float(right @ right)
        self._error_power += float(error @ error)
        self._product += float(left @ right)
        nonzero = error[error > 0]
        self._zeros += left.size - nonzero.size
        exponents = np.clip(np.log10(nonzero), HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[-1])
        self._histogram += np.histogram(exponents, HISTOGRAM_EDGES)[0]

    def summary(self) -> ErrorSummary:
        """The figures so far."""
        count = max(self._finite, 1)
        return ErrorSummary(
            elements=self._elements,
            scale=self._scale,
            max_abs=self._max_abs,
            mean_abs=self._sum_abs / count,
            max_rel=self._max_rel,
            mean_rel=self._sum_rel / count,
            max_scaled=_ratio(self._max_abs, self._scale),
            cosine=self._cosine(),
            snr_db=snr_db(self._original_power, self._error_power),
            nonfinite=self._nonfinite,
            mismatched=self._mismatched,
            zeros=self._zeros,
            histogram=tuple(int(count) for count in self._histogram),
        )

    def _cosine(self) -> float:
        if not self._error_power:
            return 1.0
        norms = math.sqrt(self._original_power) * math.sqrt(self._converted_power)
        return self._product / norms if norms else 0.0


def snr_db(signal_power: float, error_power: float) -> float:
    """Signal-to-noise ratio in dB; infinite without an error, -infinite without a signal."""
    if error_power == 0:
        return math.inf
    if not math.isfinite(error_power) or signal_power == 0:
        return -math.inf
    return 10 * math.log10(signal_power / error_power)


def tensor_snr_db(original: np.ndarray, converted: np.ndarray) -> float:
    """Signal-to-noise ratio of one tensor; -infinite where shapes or finiteness disagree."""
    if original.shape != converted.shape:
        return -math.inf
    left, right = (np.asarray(v, np.float64).reshape(-1) for v in (original, converted))
    finite = np.isfinite(left)
    if not np.array_equal(left[~finite], right[~finite], equal_nan=True):
        return -math.inf
    error = right[finite] - left[finite]
    return snr_db(float(left[finite] @ left[finite]), float(error @ error))


def snr_of_each(original: Sequence[np.ndarray], converted: Sequence[np.ndarray]) -> list[float]:
    """One ratio a tensor; of dtypes other than float infinite if they are equal, else -infinite."""
    return [
        tensor_snr_db(left, right)
        if is_float(left) and is_float(right)
        else math.inf
        if np.array_equal(left, right)
        else -math.inf
        for left, right in zip(original, converted, strict=True)
    ]


def is_float(array: Any) -> bool:
    """Whether values are compared by their distance (bfloat16 and float8 too)."""
    return array.dtype.kind == "f" or "float" in array.dtype.name


def _rows(array: np.ndarray) -> int:
    return array.shape[0] if array.ndim else 1


def _per_input(error: np.ndarray) -> np.ndarray:
    rows = error.reshape(_rows(error), math.prod(error.shape[1:]))
    return rows.max(axis=1, initial=0.0)


def _ratio(part: float, whole: float) -> float:
    if part == 0:
        return 0.0
    return part / whole if whole else math.inf
