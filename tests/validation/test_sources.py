"""Inputs from files and functions arrive as the signature takes them."""

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit.errors import InputError
from tftrt_toolkit.validation import sources

IMAGE = {"image": tf.TensorSpec((None, 8, 8, 3), tf.float32, name="image")}
MIXED = {
    "ids": tf.TensorSpec((None, 3), tf.int64, name="ids"),
    "text": tf.TensorSpec((None,), tf.string, name="text"),
}


def mixed_batch(size=4):
    return {
        "ids": np.arange(3 * size).reshape(size, 3),
        "text": np.array([b"t%d" % index for index in range(size)], object),
    }


@pytest.mark.parametrize("kind", ["function", "list", "dataset"])
def test_input_functions(kind):
    batch = {"ids": mixed_batch()["ids"], "text": mixed_batch()["text"].tolist()}
    given = {
        "function": lambda: iter([batch]),
        "list": [batch],
        "dataset": tf.data.Dataset.from_tensors(batch),
    }[kind]
    (found,) = sources.from_input_fn(given, MIXED, labelled=False)
    assert found.size == 4
    assert found.labels is None
    assert found.inputs["ids"].dtype == np.int64
    assert found.inputs["text"].tolist() == [b"t0", b"t1", b"t2", b"t3"]


def test_labels_come_in_pairs():
    images = np.zeros((2, 8, 8, 3), np.float32)
    (found,) = sources.from_input_fn([(images, [3, 4])], IMAGE, labelled=True)
    assert found.labels.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("item", "labelled", "words"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), True, "isn't a pair"),
        ((np.zeros((2, 8, 8, 3), np.float32), [1]), True, "2 inputs, but labels of shape"),
        (np.zeros((2, 8, 8, 1), np.float32), False, "batch 0"),
    ],
)
def test_items_that_do_not_fit(item, labelled, words):
    with pytest.raises(InputError, match=words):
        list(sources.from_input_fn([item], IMAGE, labelled=labelled))


def test_not_iterable():
    with pytest.raises(InputError, match="generator"):
        list(sources.from_input_fn(lambda: None, IMAGE, labelled=False))


def test_same_seed_same_inputs():
    first, again, other = (list(sources.from_seed(MIXED, seed, 2, 4)) for seed in (1, 1, 3))
    assert [batch.size for batch in first] == [4, 4]
    assert np.array_equal(first[1].inputs["ids"], again[1].inputs["ids"])
    assert not np.array_equal(first[0].inputs["ids"], first[1].inputs["ids"])
    assert not np.array_equal(first[0].inputs["ids"], other[0].inputs["ids"])


def test_npz_files(tmp_path):
    ids = mixed_batch()["ids"]
    specs = {"ids": MIXED["ids"]}
    np.savez(tmp_path / "b.npz", ids=ids + 1, labels=np.arange(4))
    np.savez(tmp_path / "a.npz", ids=ids, labels=np.arange(4))
    first, second = sources.from_directory(tmp_path, specs, 8)
    assert np.array_equal(second.inputs["ids"], ids + 1)
    assert np.array_equal(first.inputs["ids"], ids)
    assert first.labels.tolist() == [0, 1, 2, 3]


def test_image_folders_are_labels(tmp_path):
    for folder, value in (("cat", 0), ("dog", 255)):
        (tmp_path / folder).mkdir()
        for index in range(2):
            png = tf.io.encode_png(tf.fill((16, 12, 3), tf.cast(value, tf.uint8)))
            (tmp_path / folder / f"{index}.png").write_bytes(png.numpy())
    first, second = sources.from_directory(tmp_path, IMAGE, 3, image_range=(-1.0, 1.0))
    assert first.labels.tolist() == [0, 0, 1]
    assert second.size == 1
    assert first.inputs["image"].shape == (3, 8, 8, 3)
    assert np.allclose(first.inputs["image"][0], -1)
    assert np.allclose(second.inputs["image"], 1)


def feature(values):
    values = list(values)
    if not values:
        return tf.train.Feature()
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def write_records(path, rows):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            features = {name: feature(values) for name, values in row.items()}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


def test_records(tmp_path):
    rows = [{"ids": [n, n + 1, n + 2], "text": [b"x"], "label": [n]} for n in range(5)]
    write_records(tmp_path / "data.tfrecord", rows)
    first, second = sources.from_directory(tmp_path, MIXED, 3)
    assert first.inputs["ids"].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert second.labels.tolist() == [3, 4]
    assert first.inputs["text"].tolist() == [b"x"] * 3


def test_records_of_raw_bytes_and_encoded_images(tmp_path):
    raw = np.random.default_rng(0).random((8, 8, 3), np.float32)
    png = tf.io.encode_png(tf.fill((8, 8, 3), tf.cast(255, tf.uint8))).numpy()
    write_records(tmp_path / "a.tfrecord", [{"image": [raw.tobytes()]}, {"image": [png]}])
    (batch,) = sources.from_directory(tmp_path, IMAGE, 2)
    assert np.array_equal(batch.inputs["image"][0], raw)
    assert np.allclose(batch.inputs["image"][1], 1)


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="no directory"):
        sources.from_directory(tmp_path / "none", IMAGE, 2)
    with pytest.raises(InputError, match="holds no"):
        sources.from_directory(tmp_path, IMAGE, 2)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="decoded"):
        list(sources.from_directory(tmp_path, IMAGE, 2))
    with pytest.raises(InputError, match="one input"):
        list(sources.from_directory(tmp_path, MIXED, 2))
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"a\.npz can't be read"):
        list(sources.from_directory(tmp_path, IMAGE, 2))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"other": [1]}, "no feature 'ids', only other"),
        ({"ids": [1]}, "feature 'ids' doesn't fit"),
        ({"ids": []}, "feature 'ids' doesn't fit"),
        ({"ids": [1, 2, 3], "label": [1.0]}, "feature 'label' is no label"),
        ({"ids": [1, 2, 3], "label": [b"cat"]}, "feature 'label' is no label"),
    ],
)
def test_bad_records(tmp_path, row, message):
    write_records(tmp_path / "a.tfrecord", [row])
    with pytest.raises(InputError, match=message):
        list(sources.from_directory(tmp_path, {"ids": MIXED["ids"]}, 2))


def test_files_that_hold_no_records(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(b"no records at all")
    with pytest.raises(InputError, match=r"a\.tfrecord can't be read as TFRecord"):
        list(sources.from_directory(tmp_path, IMAGE, 2))
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(b"\xff\xfe no example")
    with pytest.raises(InputError, match=r"a\.tfrecord: a record is no tf\.train\.Example"):
        list(sources.from_directory(tmp_path, IMAGE, 2))
    (tmp_path / "a.tfrecord").unlink()
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="not images"):
        list(sources.from_directory(tmp_path, {"x": tf.TensorSpec(None, tf.float32, "x")}, 2))
