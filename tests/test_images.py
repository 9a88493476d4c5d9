import json

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import images
from tftrt_toolkit.errors import InputError, InvalidArgumentError

GREY = np.full((40, 60, 3), 127.5, np.float32)


def test_names_of_applications():
    assert images.application("ResNet50") == images.application("resnet_50") == "resnet50"
    assert images.application("MobileNet-V2") == "mobilenetv2"
    assert images.input_size("VGG16") == (224, 224)
    assert images.input_size("Xception") == (299, 299)
    with pytest.raises(InvalidArgumentError, match=r"no application 'LeNet': use one of .*vgg16"):
        images.application("LeNet")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Blue, green, red, without the means of ImageNet.
        ("VGG16", [30 - 103.939, 20 - 116.779, 10 - 123.68]),
        ("ResNet50", [30 - 103.939, 20 - 116.779, 10 - 123.68]),
        ("MobileNetV2", [10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1]),
        ("EfficientNetB0", [10, 20, 30]),  # scaled in the model
    ],
)
def test_preprocessing_is_that_of_the_application(name, expected):
    picture = np.broadcast_to(np.array([10, 20, 30], np.uint8), (50, 70, 3))
    batch = images.preprocess([picture, picture[:20]], name)
    assert batch.shape == (2, 224, 224, 3)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, np.broadcast_to(expected, batch.shape), atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 80), (80, 40)])
def test_the_middle_is_kept_and_nothing_is_stretched(shape):
    picture = np.zeros((*shape, 3), np.float32)
    top, left = (shape[0] - 40) // 2, (shape[1] - 40) // 2
    picture[top : top + 40, left : left + 40] = 200
    np.testing.assert_allclose(images.resize(picture, (20, 20)), 200, rtol=1e-5)


def test_pictures_that_cannot_be_read(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for name in ("bad.png", "missing.png"):
        with pytest.raises(InputError, match=name) as caught:
            images.load_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    (tmp_path / "good.png").write_bytes(tf.io.encode_png(GREY.astype(np.uint8)).numpy())
    assert images.load_image(tmp_path / "good.png").shape == (40, 60, 3)
    assert images.load_image(tmp_path / "good.png", channels=1).shape == (40, 60, 1)


def test_top_predictions_of_logits_and_of_probabilities():
    logits = np.log(np.array([[0.2, 0.5, 0.3]])) + 7
    for scores in (logits, images.probabilities(logits)):
        (row,) = images.top_predictions(scores, 2, ["cat", "dog", "bird"])
        assert [(one.index, one.label) for one in row] == [(1, "dog"), (2, "bird")]
        np.testing.assert_allclose([one.score for one in row], [0.5, 0.3])
    assert images.top_predictions(logits, 1)[0][0].label == ""
    with pytest.raises(InvalidArgumentError, match="2 labels for 3 classes"):
        images.top_predictions(logits, 2, ["cat", "dog"])


def test_labels(tmp_path):
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert images.load_labels(tmp_path / "names.txt") == ["cat", "dog"]
    index = {"1": ["n2", "dog"], "0": ["n1", "cat"]}
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert images.load_labels(tmp_path / "index.json") == ["cat", "dog"]
    (tmp_path / "bad.json").write_text("[1]")
    for name in ("bad.json", "missing.txt"):
        with pytest.raises(InvalidArgumentError, match=name):
            images.load_labels(tmp_path / name)
