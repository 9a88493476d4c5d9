"""Top-1, top-5 and the matrix of two classifiers."""

import numpy as np
import pytest

from tftrt_toolkit.validation.agreement import (
    AgreementStream,
    is_right,
    looks_like_classifier,
    top_classes,
)


def scores(classes, count=7):
    return np.eye(count, dtype=np.float32)[list(classes)]


def test_counts_and_matrix():
    stream = AgreementStream(7)
    stream.update(scores([0, 1, 2]), scores([0, 1, 3]))
    stream.update(scores([2]), scores([3]))
    found = stream.summary()
    assert found.top1 == 0.5
    assert found.low < 0.5 < found.high
    assert found.matrix[2][3] == 2
    assert np.trace(found.matrix) == 2
    assert found.pairs == ((2, 3, 2),)


def test_top5_is_the_share_of_the_best_five_in_common():
    stream = AgreementStream(7)
    stream.update(np.array([[7, 6, 5, 4, 3, 2, 1.0]]), np.array([[7, 6, 5, 4, 1, 2, 3.0]]))
    assert stream.summary().top5 == pytest.approx(0.8)
    assert AgreementStream(5).summary().top5 is None


def test_many_classes_have_no_matrix():
    stream = AgreementStream(1000)
    stream.update(scores([4, 5], 1000), scores([4, 6], 1000))
    assert stream.summary().matrix is None
    assert stream.summary().pairs == ((5, 6, 1),)


def test_a_row_with_nan_has_no_class():
    broken = scores([1, 2])
    broken[0, 3] = np.nan
    assert top_classes(broken).tolist() == [-1, 2]
    stream = AgreementStream(7)
    stream.update(scores([1, 2]), broken)
    assert stream.summary().top1 == 0.5
    assert np.sum(stream.summary().matrix) == 1


def test_is_right():
    values = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]])
    assert is_right(values, np.array([1, 1])).tolist() == [1, 0]
    assert is_right(values, np.array([2, 1]), top=2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("logits", [[-3.0, 5.0]], True),
        ("output_0", [[0.25, 0.75]], True),
        ("output_0", [[0.25, 0.5]], False),
        ("embedding", [[-3.0, 5.0]], False),
        ("detection_scores", [[0.9, 0.8]], False),
        ("logits", [[1.0]], False),
        ("classes", [1.0, 2.0], False),
    ],
)
def test_looks_like_classifier(name, values, expected):
    assert looks_like_classifier(name, np.array(values)) is expected
