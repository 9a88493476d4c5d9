"""Pictures for the usual Keras applications: loading, preprocessing, and reading their scores.

batch = preprocess([load_image("cat.jpg")], "ResNet50")
scores = model.signatures["serving_default"](tf.constant(batch))["predictions"].numpy()
top_predictions(scores, top=3, labels=load_labels("imagenet_class_index.json"))
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.errors import InputError, InvalidArgumentError, error_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_SIZE, _LARGE = 224, 299
_LARGE_APPLICATIONS = ("inceptionv3", "inceptionresnetv2", "xception")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One of an input's best classes. label: its name, "" where there are no labels."""

    index: int
    label: str
    score: float


@functools.cache
def _applications() -> Mapping[str, Any]:
    """Name of an application, in lower case -> its Keras module, which has `preprocess_input`."""
    modules = (getattr(tf.keras.applications, name) for name in dir(tf.keras.applications))
    return {
        name.lower(): module
        for module in modules
        if hasattr(module, "preprocess_input")
        for name in dir(module)
        if name[0].isupper()
    }


def application(name: str) -> str:
    """An application's name as a key: "MobileNetV2", "mobilenet_v2" -> "mobilenetv2".

    Raises InvalidArgumentError if Keras has none of that name.
    """
    key = name.lower().replace("_", "").replace("-", "")
    if key not in _applications():
        raise InvalidArgumentError(
            f"Keras has no application {name!r}: use one of {', '.join(sorted(_applications()))}"
        )
    return key


def input_size(name: str) -> tuple[int, int]:
    """Height and width that an application was trained on, as Keras documents it."""
    size = _LARGE if application(name) in _LARGE_APPLICATIONS else _SIZE
    return size, size


def load_image(path: Path | str, channels: int = 3) -> np.ndarray:
    """A picture as uint8 [height, width, channels]; of an animation, its first frame.

    Raises InputError if it can't be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    return decode(data, channels, str(path)).numpy()


def decode(data: bytes, channels: int, what: str) -> tf.Tensor:
    """An encoded picture as uint8 [height, width, channels]. Raises InputError, naming `what`."""
    try:
        return tf.io.decode_image(data, channels=channels, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise InputError(f"{what} can't be decoded: {error_line(error)}") from error


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture [h, w, c] as float32 [height, width, c] of `size`, values in 0..255.

    The largest middle part of the wanted proportions is taken, so that nothing is stretched.
    """
    height, width = image.shape[:2]
    scale = min(height / size[0], width / size[1])
    part = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top, left = (height - part[0]) // 2, (width - part[1]) // 2
    middle = image[top : top + part[0], left : left + part[1]]
    return tf.image.resize(middle, size, antialias=True).numpy()


def preprocess(
    images: Sequence[np.ndarray], name: str, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Pictures as an application takes them.

    images: each [height, width, 3], RGB in 0..255, of any size. name: e.g. "VGG16". size: height
    and width of the model's input, None: the application's own. Returns float32
    [n, height, width, 3], scaled and ordered by the application's `preprocess_input`.
    """
    module = _applications()[application(name)]
    found = np.stack([resize(image, size or input_size(name)) for image in images])
    return np.asarray(module.preprocess_input(found), np.float32)


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Scores [n, classes] as float64 probabilities: softmax of what isn't any yet."""
    scores = scores.astype(np.float64)
    if np.all(scores >= 0) and np.allclose(scores.sum(axis=1), 1, atol=1e-2):
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def top_predictions(
    scores: np.ndarray, top: int = 5, labels: Sequence[str] | None = None
) -> list[list[Prediction]]:
    """The best classes of each row of scores [n, classes], logits or probabilities, best first.

    Raises InvalidArgumentError if the number of labels isn't that of classes.
    """
    if labels is not None and len(labels) != scores.shape[1]:
        raise InvalidArgumentError(
            f"{len(labels)} labels for {scores.shape[1]} classes: give one label for each class"
        )
    shares = probabilities(scores)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    return [
        [Prediction(int(i), labels[i] if labels else "", float(row[i])) for i in order]
        for row, order in zip(shares, best, strict=True)
    ]


def load_labels(path: Path | str) -> list[str]:
    """Class names: a text file with one a line, or Keras's `imagenet_class_index.json`.

    Raises InvalidArgumentError if it can't be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return text.splitlines()
        content = json.loads(text)
        return [content[str(index)][1] for index in range(len(content))]
    except OSError as error:
        raise InvalidArgumentError(f"labels {path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InvalidArgumentError(
            f"labels {path} are neither lines of text nor a class index of Keras"
        ) from error
