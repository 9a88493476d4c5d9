"""The digits split is the same everywhere, and no image is in both halves."""

import hashlib

import numpy as np
import pytest

from tftrt_toolkit.examples import digits


@pytest.fixture(scope="module")
def split():
    return digits.load_split()


def test_sizes_types_and_range(split):
    train, test = split
    assert (len(train), len(test)) == (1000, 797)
    for part in split:
        assert part.images.shape == (len(part), 8, 8, 1)
        assert part.images.dtype == np.float32
        assert part.labels.dtype == np.int64
        assert (part.images.min(), part.images.max()) == (0.0, 1.0)
        assert set(part.labels) == set(range(10))


def test_split_is_stable(split):
    labels = hashlib.sha256(split[1].labels.tobytes()).hexdigest()
    assert labels == "12d33fb80484fa1824931bfa059e662de0119acfccb1b23a6f9cb159e62257cf"


def test_halves_share_no_image(split):
    train, test = ({image.tobytes() for image in part.images} for part in split)
    assert not train & test


def test_batches_cover_everything_in_order(split):
    batches = list(split[1].batches(100))
    assert [len(batch) for batch in batches] == [100] * 7 + [97]
    joined = np.concatenate([batch.images for batch in batches])
    assert np.array_equal(joined, split[1].images)
    assert np.array_equal(np.concatenate([batch.labels for batch in batches]), split[1].labels)
