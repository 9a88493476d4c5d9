"""Files in, rows out; the models are functions."""

import csv
import io
import json

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit.errors import InputError, InvalidArgumentError
from tftrt_toolkit.images import Prediction
from tftrt_toolkit.inference import InferenceOptions, Row, predict, to_csv, to_json
from tftrt_toolkit.validation.models import LocalModel


def model(shape=(None, 8, 8, 3), dtype=tf.float32):
    """pixels -> probabilities of 3 classes by colour, and the means."""

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype, name="pixels")])
    def serve(pixels):
        means = tf.reduce_mean(tf.cast(pixels, tf.float32), axis=(1, 2))
        return {"probabilities": tf.nn.softmax(means), "means": 2.0 * means}

    return LocalModel(serve.get_concrete_function())


@pytest.fixture
def pictures(tmp_path):
    """One each of red, green and blue, of different sizes."""
    for index, name in enumerate(("a_red", "b_green", "c_blue")):
        pixels = np.zeros((10 + index, 12, 3), np.uint8)
        pixels[..., index] = 255
        (tmp_path / f"{name}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


@pytest.mark.parametrize("batch", [None, 2])
def test_a_directory_of_pictures(pictures, batch):
    options = InferenceOptions(top=2, batch_size=2, labels=["red", "green", "blue"])
    rows = list(predict(model((batch, 8, 8, 3)), [pictures], options))
    assert [row.source for row in rows] == sorted(map(str, pictures.glob("*.png")))
    assert [row.classes["probabilities"][0].label for row in rows] == ["red", "green", "blue"]
    assert all(len(row.classes["probabilities"]) == 2 for row in rows)
    np.testing.assert_allclose(rows[1].values["means"], [0, 2, 0], rtol=1e-5)


def test_preprocessing_of_an_application(pictures):
    options = InferenceOptions(application="MobileNetV2", top=0)
    rows = list(predict(model(), [pictures / "c_blue.png"], options))
    np.testing.assert_allclose(rows[0].values["means"], [-2, -2, 2], rtol=1e-5)
    rows = list(predict(model((None, None, None, 3)), [pictures], options))
    np.testing.assert_allclose([row.values["means"] for row in rows], 4 * np.eye(3) - 2, rtol=1e-5)
    with pytest.raises(InputError, match="leave it out"):
        list(predict(model(dtype=tf.uint8), [pictures], options))


def test_npz_files(tmp_path):
    pixels = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.savez(tmp_path / "x.npz", pixels=pixels, label=[0, 1])
    rows = list(predict(model(), [tmp_path / "x.npz"]))
    assert [row.index for row in rows] == [0, 1]
    np.testing.assert_allclose(rows[1].values["means"], 2 * pixels[1].mean(axis=(0, 1)), rtol=1e-5)
    np.savez(tmp_path / "x.npz", other=pixels)
    (tmp_path / "y.npz").write_bytes(b"no archive")
    for name, message in (("x.npz", "has inputs"), ("y.npz", "can't be read as .npz")):
        with pytest.raises(InputError, match=message) as caught:
            list(predict(model(), [tmp_path / name]))
        assert name in str(caught.value)


def test_what_is_no_input(pictures):
    (pictures / "empty").mkdir()
    for name, message in (
        ("nowhere", "there is no file"),
        ("notes.txt", "no file to run on"),
        ("empty", "holds no .npz"),
    ):
        with pytest.raises(InputError, match=message):
            list(predict(model(), [pictures / name]))
    with pytest.raises(InputError, match="batch_size=1"):
        list(predict(model((None, None, None, 3)), [pictures]))
    with pytest.raises(InvalidArgumentError, match="no signature 'other'"):
        list(predict(model(), [pictures], InferenceOptions(signature_key="other")))


ROWS = [
    Row("a.png", None, {"p": [Prediction(3, "cat", 0.75), Prediction(1, "dog", 0.25)]}, {}),
    Row("b.npz", 1, {}, {"v": np.array([1.5, np.inf]), "s": np.array(b"text", object)}),
]


def test_json():
    assert json.loads(to_json(ROWS)) == [
        {
            "input": "a.png",
            "p": [
                {"class": 3, "label": "cat", "score": 0.75},
                {"class": 1, "label": "dog", "score": 0.25},
            ],
        },
        {"input": "b.npz", "index": 1, "v": [1.5, "inf"], "s": "text"},
    ]


def test_csv():
    first, second, third, fourth = csv.reader(io.StringIO(to_csv(ROWS)))
    assert dict(zip(first, second, strict=True)) == {
        "input": "a.png",
        "p.class_1": "3",
        "p.label_1": "cat",
        "p.score_1": "0.75",
        "p.class_2": "1",
        "p.label_2": "dog",
        "p.score_2": "0.25",
    }
    assert third == ["input", "index", "v.0", "v.1", "s"]
    assert fourth == ["b.npz", "1", "1.5", "inf", "text"]
    large = Row("c", 0, {}, {"v": np.zeros(20_000)})
    with pytest.raises(InvalidArgumentError, match="too many for CSV"):
        to_csv([large])


def test_options_that_cannot_work():
    for bad in ({"batch_size": 0}, {"top": -1}, {"application": "LeNet"}):
        with pytest.raises(InvalidArgumentError):
            InferenceOptions(**bad)
