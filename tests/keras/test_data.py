"""What `fit` takes as data, as batches by input name."""

import keras as keras3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tftrt_toolkit.errors import InputError
from tftrt_toolkit.keras.data import DataSlice

X = np.arange(20, dtype=np.float64).reshape(10, 2)
EXTRA = np.arange(10, dtype=np.float32).reshape(10, 1)
LABELS = np.arange(10)
SPECS = {"x": tf.TensorSpec([None, 2], tf.float32), "extra_data": tf.TensorSpec([None, 1])}
NAMED = {"x": X, "extra data": EXTRA}


def sliced(data, specs=SPECS, batch_size=4, max_batches=2):
    return DataSlice(data, specs, batch_size, max_batches)


def batches_of(sequence_class):
    class Batches(sequence_class):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            rows = slice(4 * index, 4 * index + 4)
            return [X[rows], EXTRA[rows]], LABELS[rows], np.ones(4)

    return Batches()


@pytest.mark.parametrize(
    "data",
    [
        ([X, EXTRA], LABELS),
        ((X, EXTRA), LABELS, np.ones(10)),
        ([tf.constant(X), EXTRA], LABELS.reshape(-1, 1)),
        (NAMED, LABELS),
        tf.data.Dataset.from_tensor_slices((NAMED, LABELS)).batch(4).repeat(),
        batches_of(keras3.utils.PyDataset),
        batches_of(tf_keras.utils.Sequence),
        lambda: (([X[i : i + 4], EXTRA[i : i + 4]], LABELS[i : i + 4]) for i in (0, 4)),
        lambda: ([X, EXTRA], LABELS),
        [([X[:4], EXTRA[:4]], LABELS[:4].tolist()), ([X[4:8], EXTRA[4:8]], LABELS[4:8].tolist())],
    ],
    ids=str,
)
def test_inputs_and_labels_are_told_apart_as_keras_does(data):
    found = sliced(data)
    if isinstance(data, list):  # labels in a list may belong to several outputs
        assert not found.has_classes()
    else:
        assert found.has_classes()
        assert np.concatenate([labels for _, labels in found.labelled()]).tolist() == [*range(8)]
    for _ in range(2):  # anew at each iteration
        batches = list(found.inputs())
        assert [list(batch) for batch in batches] == [["x", "extra_data"]] * 2
        assert {batch["x"].dtype for batch in batches} == {tf.float32}
        np.testing.assert_array_equal(np.concatenate([one["x"] for one in batches]), X[:8])
        np.testing.assert_array_equal(
            np.concatenate([one["extra_data"] for one in batches]), EXTRA[:8]
        )


@pytest.mark.parametrize(
    "labels", [np.eye(10), LABELS.astype(float), {"scores": LABELS}, np.stack([LABELS, LABELS], 1)]
)
def test_labels_that_are_no_class_numbers(labels):
    found = sliced(([X, EXTRA], labels))
    assert not found.has_classes()
    assert len(list(found.inputs())) == 2


def test_data_without_labels():
    for data in (X, {"x": X}, [X], tf.data.Dataset.from_tensor_slices(X).batch(4)):
        found = sliced(data, {"x": SPECS["x"]})
        assert not found.has_classes()
        assert len(list(found.inputs())) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, "has 1 inputs, but the model takes"),
        ([X, X], "input 'extra_data' is float32"),
        (3, "is no data that fit"),
        (iter([X]), "can be read only once"),
    ],
)
def test_what_does_not_fit_says_so(data, message):
    with pytest.raises(InputError, match=message):
        list(sliced(data).inputs())
