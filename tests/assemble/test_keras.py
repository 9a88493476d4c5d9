"""Keras models, written in either of the two ways that Keras has."""

import numpy as np
import pytest
import tensorflow as tf

from tests.assemble.cutting import cut_ops
from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function, save_model
from tftrt_toolkit.freeze import freeze_function, load_model


@pytest.fixture(scope="module")
def keras_model():
    runtime.load_ops()
    layers = tf.keras.layers
    images = tf.keras.Input((16, 16, 3), name="images")
    hidden = layers.Conv2D(64, 3, activation="relu")(images)
    hidden = layers.BatchNormalization()(hidden)
    hidden = layers.Reshape((-1, 64))(hidden)
    hidden = layers.LSTM(32)(hidden)
    return tf.keras.Model(images, layers.Dense(10, name="scores")(hidden))


def save_by_export(model, directory):
    model.export(directory, verbose=False)


def save_by_tensorflow(model, directory):
    tf.saved_model.save(model, directory)


@pytest.mark.parametrize("write", [save_by_export, save_by_tensorflow])
def test_a_keras_model_keeps_its_methods_and_objects(keras_model, write, tmp_path):
    write(keras_model, str(tmp_path / "model"))
    model = load_model(tmp_path / "model")
    frozen = freeze_function(model.signatures["serving_default"], "serving_default")
    segments = {
        "serving_default": [cut_ops(frozen.graph, {"Conv2D", "Relu"}, "x/TRTEngineOp_000_000")]
    }
    (loop,) = [body for name, body in frozen.graph.bodies.items() if "body" in name]
    segments[loop.name] = [cut_ops(loop, {"MatMul"}, "x/TRTEngineOp_001_000")]
    assert segments[loop.name][0].weights
    converted = assemble_function(frozen, segments, EngineAttributes())
    save_model(model, {"serving_default": converted}, {}, tmp_path / "out")
    saved = tf.saved_model.load(str(tmp_path / "out"))
    images = tf.random.stateless_normal([2, 16, 16, 3], [1, 2])
    function = saved.signatures["serving_default"]
    (name,) = function.structured_input_signature[1]
    (scores,) = function(**{name: images}).values()
    np.testing.assert_allclose(scores, keras_model(images), rtol=1e-4, atol=1e-5)
    before, after = set(vars(model.root)), set(vars(saved))
    assert before <= after
