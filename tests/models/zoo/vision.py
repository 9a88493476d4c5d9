"""Convolutional networks of Keras applications, with a dynamic batch."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from tests.models.zoo.model import (
    SEED,
    Draw,
    ZooModel,
    images,
    pixels,
    randomize,
    settle_batch_norm,
    settle_classifier,
)
from tftrt_toolkit.artifacts import ShapeRange


def _save(application: str, size: int, draw: Draw, directory: Path) -> None:
    keras.utils.clear_session()
    image = keras.Input((size, size, 3), name="image")
    model = getattr(keras.applications, application)(weights=None, input_tensor=image)
    randomize(model, gain=2.0)
    batch = draw(np.random.default_rng(SEED), (8, size, size, 3))
    settle_batch_norm(model, batch)
    settle_classifier(model, batch)
    model.export(directory, verbose=False)


def _application(application: str, size: int = 224, draw: Draw = images) -> ZooModel:
    shape = (size, size, 3)
    return ZooModel(
        name=application.lower(),
        save=lambda directory: _save(application, size, draw, directory),
        shapes={"image": ShapeRange((1, *shape), (4, *shape), (8, *shape))},
        draw={"image": draw},
        max_engines=1,
        min_fraction=0.99,
    )


MODELS = (
    _application("ResNet50"),
    _application("MobileNetV2"),
    _application("VGG16"),
    _application("EfficientNetB0", draw=pixels),
    _application("InceptionV3", 299),
    _application("DenseNet121"),
)
