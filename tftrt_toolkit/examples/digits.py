"""The handwritten digits that the bundled models were trained and are judged on.

scikit-learn carries the data (1797 images of 8x8 pixels), so nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from tftrt_toolkit.errors import MissingDependencyError

SPLIT_SEED = 0
TRAIN_IMAGES = 1000
TEST_IMAGES = 797


@dataclasses.dataclass(frozen=True)
class Digits:
    """Images float32 [n, 8, 8, 1] in [0, 1], and labels int64 [n] in 0..9."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.labels)

    def batches(self, size: int) -> Iterator[Digits]:
        """Batches in order; the last one may be smaller. Raises ValueError if size < 1."""
        for start in range(0, len(self), size):
            yield Digits(self.images[start : start + size], self.labels[start : start + size])


def load_split() -> tuple[Digits, Digits]:
    """The 1000 training and 797 held-out digits; stratified, the same on every machine."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise MissingDependencyError(
            "the digits come with scikit-learn, which isn't installed: pip install scikit-learn"
        ) from error
    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)[..., np.newaxis]
    train_x, test_x, train_y, test_y = train_test_split(
        images,
        data.target.astype(np.int64),
        train_size=TRAIN_IMAGES,
        test_size=TEST_IMAGES,
        stratify=data.target,
        random_state=SPLIT_SEED,
    )
    return Digits(train_x, train_y), Digits(test_x, test_y)


def load_held_out() -> Digits:
    """The 797 digits that no bundled model has seen."""
    return load_split()[1]
