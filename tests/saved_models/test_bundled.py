"""The bundled models are what digits.json says they are."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit.examples import digits

DIRECTORY = Path(__file__).parents[2] / "saved_models"
RECORD = json.loads((DIRECTORY / "digits.json").read_text())
LEAST_ACCURACY = {"digits_cnn": 0.985, "digits_vit": 0.97}


def test_record_matches_the_split():
    assert RECORD["split_seed"] == digits.SPLIT_SEED
    assert RECORD["train_images"] == digits.TRAIN_IMAGES
    assert RECORD["test_images"] == digits.TEST_IMAGES
    assert RECORD["models"].keys() == LEAST_ACCURACY.keys()


@pytest.mark.parametrize("name", sorted(LEAST_ACCURACY))
def test_bundled_model(name):
    size = sum(file.stat().st_size for file in (DIRECTORY / name).rglob("*") if file.is_file())
    assert size < 2_000_000
    loaded = tf.saved_model.load(DIRECTORY / name)
    serve = loaded.signatures["serving_default"]
    assert serve.structured_input_signature[1] == {
        "image": tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")
    }
    assert serve.structured_outputs == {
        "logits": tf.TensorSpec((None, 10), tf.float32, name="logits")
    }
    test = digits.load_held_out()
    logits = serve(image=tf.constant(test.images))["logits"].numpy()
    share = float(np.mean(logits.argmax(axis=1) == test.labels))
    assert share >= LEAST_ACCURACY[name]
    # Another TensorFlow or CPU may turn one or two digits on the border.
    assert abs(share - RECORD["models"][name]["held_out_accuracy"]) <= 2.5 / len(test)
