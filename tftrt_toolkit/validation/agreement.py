"""Whether two classifiers give the same answer: streaming, in constant memory."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np

from tftrt_toolkit.validation.statistics import wilson_interval

# A matrix of at most so many classes; above, only the most frequent disagreements are kept.
MATRIX_CLASSES = 50
_KEPT_PAIRS = 1000
_SHOWN_PAIRS = 20
_TOP = 5
_CLASSIFIER_WORDS = ("logit", "prob", "softmax", "prediction")


@dataclasses.dataclass(frozen=True)
class AgreementSummary:
    """How often two classifiers agree.

    top1: share of inputs with the same first class, `low` and `high` its 95 % interval.
    top5: mean share of the original's five best classes among the converted's; None below six
      classes.
    matrix: counts [original's class][converted's class]; None above MATRIX_CLASSES.
    pairs: (original's class, converted's class, count) of the most frequent disagreements.
    """

    inputs: int
    classes: int
    top1: float
    low: float
    high: float
    top5: float | None
    matrix: tuple[tuple[int, ...], ...] | None
    pairs: tuple[tuple[int, int, int], ...]


class AgreementStream:
    """Adds batch after batch of one classifier output [batch, classes]."""

    def __init__(self, classes: int) -> None:
        """Start with nothing."""
        self._classes = classes
        self._inputs = self._same = 0
        self._top5 = 0.0
        self._matrix = None
        if classes <= MATRIX_CLASSES:
            self._matrix = np.zeros((classes, classes), np.int64)
        self._pairs: Counter[tuple[int, int]] = Counter()

    def update(self, original: np.ndarray, converted: np.ndarray) -> None:
        """Add scores [batch, classes] of both models."""
        left, right = top_classes(original), top_classes(converted)
        self._inputs += len(left)
        self._same += int((left == right).sum())
        if self._matrix is not None:
            known = (left >= 0) & (right >= 0)
            np.add.at(self._matrix, (left[known], right[known]), 1)
        odd = left != right
        self._pairs.update(zip(left[odd].tolist(), right[odd].tolist(), strict=True))
        if len(self._pairs) > 2 * _KEPT_PAIRS:
            self._pairs = Counter(dict(self._pairs.most_common(_KEPT_PAIRS)))
        if self._classes > _TOP:
            best, other = _best(original), _best(converted)
            shared = (best[:, :, None] == other[:, None, :]).any(axis=2)
            self._top5 += float(shared.mean(axis=1).sum())

    def summary(self) -> AgreementSummary:
        """The figures so far."""
        low, high = wilson_interval(self._same, self._inputs)
        count = max(self._inputs, 1)
        return AgreementSummary(
            inputs=self._inputs,
            classes=self._classes,
            top1=self._same / count,
            low=low,
            high=high,
            top5=self._top5 / count if self._classes > _TOP else None,
            matrix=None if self._matrix is None else tuple(map(tuple, self._matrix.tolist())),
            pairs=tuple((*pair, n) for pair, n in self._pairs.most_common(_SHOWN_PAIRS)),
        )


def top_classes(scores: np.ndarray) -> np.ndarray:
    """The first class of each row [batch]; -1, no class at all, for a row with a NaN."""
    best = np.argmax(scores, axis=-1)
    return np.where(np.isnan(scores.astype(np.float64)).any(axis=-1), -1, best)


def is_right(scores: np.ndarray, labels: np.ndarray, top: int = 1) -> np.ndarray:
    """1.0 where the label [batch] is among the `top` best classes of scores [batch, classes]."""
    if top == 1:
        return (top_classes(scores) == labels).astype(np.float64)
    return (_best(scores, top) == labels[:, None]).any(axis=1).astype(np.float64)


def looks_like_classifier(name: str, values: np.ndarray) -> bool:
    """Whether an output holds class scores: a matrix named so, or whose rows sum to one."""
    if values.ndim != 2 or values.shape[1] < 2 or values.dtype.kind != "f":
        return False
    if any(word in name.lower() for word in _CLASSIFIER_WORDS):
        return True
    sums = values.astype(np.float64).sum(axis=1)
    return bool(len(sums) and np.all(values >= 0) and np.allclose(sums, 1, atol=1e-3))


def _best(scores: np.ndarray, top: int = _TOP) -> np.ndarray:
    return np.argsort(-scores.astype(np.float64), axis=-1, kind="stable")[:, :top]
