"""Keras models exported with engines, for both Kerases."""

import json

import keras as keras3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tftrt_toolkit
from tests.keras.models import IMAGES, LABELS, functional, sequential, several, subclassed
from tftrt_toolkit.errors import (
    InvalidArgumentError,
    ModelError,
    OutputExistsError,
    ValidationError,
)
from tftrt_toolkit.keras import ExportOptions, export
from tftrt_toolkit.validation import ValidationOptions

EXTRA = np.linspace(-1, 1, 96 * 4, dtype=np.float32).reshape(96, 4)
BOTH = pytest.mark.parametrize("keras", [keras3, tf_keras], ids=["keras3", "tf_keras"])


def run(directory, **inputs):
    loaded = tftrt_toolkit.load(directory)
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    return loaded.signatures["serving_default"](**tensors)


@BOTH
def test_a_functional_model_with_engines_built_and_validated(keras, tmp_path):
    model = functional(keras)
    exported = export(
        model,
        tmp_path / "out",
        precision_mode="INT8",
        batch_sizes=(1, 4, 16),
        validation_data=(IMAGES, LABELS),
        original_dir=tmp_path / "plain",
    )
    assert exported.inputs == ("images",)
    (segment,) = exported.report["segments"]
    assert segment["precision"] == "INT8"
    assert segment["plans"]
    assert "serving_default was calibrated on 3 batches" in exported.report["notes"]
    validation = exported.report["validation"]
    assert validation["passed"]
    (result,) = validation["signatures"]
    assert result["inputs"] == 96
    assert {metric["name"] for metric in result["metrics"]} >= {"accuracy"}
    written = json.loads((tmp_path / "out/assets.extra/tftrt_report.json").read_text())
    assert written["validation"]["passed"]
    assert set(tftrt_toolkit.load(tmp_path / "out").signatures) == {"serving_default"}
    expected = model(IMAGES[:5], training=False)
    for directory in ("out", "plain"):
        found = run(tmp_path / directory, images=IMAGES[:5])
        np.testing.assert_allclose(found["scores"], expected, rtol=1e-4, atol=1e-5)


@BOTH
def test_sequential_and_subclassed_models_that_were_called(keras, tmp_path):
    model = sequential(keras)
    model(IMAGES[:2])
    (name,) = export(model, tmp_path / "sequential", batch_sizes=(1, 2, 4)).inputs
    found = run(tmp_path / "sequential", **{name: IMAGES[:7]})
    assert set(found) == {"scores"}
    np.testing.assert_allclose(found["scores"], model(IMAGES[:7]), rtol=1e-4, atol=1e-5)

    model = subclassed(keras)
    inputs = {"image": IMAGES[:3], "bias": np.ones((3, 2), np.float32)}
    expected = model(inputs)
    exported = export(model, tmp_path / "subclassed")
    assert exported.inputs == ("bias", "image")
    found = run(tmp_path / "subclassed", **inputs)
    assert set(found) == {"scores", "features"}
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-4, atol=1e-5)


@BOTH
def test_several_inputs_and_outputs(keras, tmp_path):
    model = several(keras)
    exported = export(model, tmp_path / "out", validation_data=([IMAGES, EXTRA], LABELS))
    assert exported.inputs == ("image", "extra_data")
    found = run(tmp_path / "out", image=IMAGES[:3], extra_data=EXTRA[:3])
    expected = model([IMAGES[:3], EXTRA[:3]])
    for name, right in zip(("first", "second"), expected, strict=True):
        np.testing.assert_allclose(found[name], right, rtol=1e-4, atol=1e-5)


@BOTH
def test_a_model_that_is_not_the_live_one_any_more_is_not_written(keras, tmp_path):
    strict = ValidationOptions(tolerances={"*": {"min_snr_db": 500.0}})
    with pytest.raises(
        ValidationError, match="FAIL the converted model against the live"
    ) as raised:
        export(
            functional(keras), tmp_path / "out", precision_mode="FP16", validation_options=strict
        )
    assert not raised.value.report.passed
    assert list(tmp_path.iterdir()) == []


def test_tables_of_preprocessing_layers_go_along(tmp_path):
    text = keras3.Input((), dtype="string", name="word")
    index = keras3.layers.StringLookup(vocabulary=["a", "b", "c"], output_mode="one_hot")(text)
    scores = keras3.layers.Dense(8)(keras3.layers.Dense(64, activation="relu")(index))
    model = keras3.Model(text, scores)
    exported = export(model, tmp_path / "out")
    assert exported.report["converted_nodes"] < exported.report["total_nodes"]
    words = np.array(["a", "c", "unknown"])
    (found,) = run(tmp_path / "out", word=words).values()
    np.testing.assert_allclose(found, model(tf.constant(words)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision_mode": "INT8"}, "INT8 needs data to calibrate on"),
        ({"precision_mode": "FP4"}, "precision 'FP4' is not known"),
        ({"batch_sizes": (4, 2, 8)}, "is not 1 <= min <= opt <= max"),
        ({"max_batches": 0}, "max_batches=0 must be at least 1"),
    ],
)
def test_arguments_that_cannot_work_are_refused_at_once(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ExportOptions(**arguments)


def test_models_that_cannot_be_exported_say_why(tmp_path):
    with pytest.raises(InvalidArgumentError, match="is no Keras model"):
        export(tf.Module(), tmp_path / "out")
    for keras in (keras3, tf_keras):
        with pytest.raises(ModelError, match="call it once, or give input_signature"):
            export(subclassed(keras), tmp_path / "out")
        spec = {
            "image": tf.TensorSpec([None, 8, 8, 1], tf.float32),
            "bias": tf.TensorSpec([None, 2], tf.float32),
        }
        directory = tmp_path / keras.__name__
        model = subclassed(keras)
        model({"image": IMAGES[:1], "bias": np.zeros((1, 2), np.float32)})
        assert export(model, directory, input_signature=spec).inputs == ("bias", "image")
        with pytest.raises(OutputExistsError):
            export(model, directory, input_signature=spec)
    inputs = keras3.Input((None, 8), name="x")
    model = keras3.Model(inputs, keras3.layers.Dense(8)(inputs))
    with pytest.raises(InvalidArgumentError, match="leaves more of input 'x' open"):
        export(model, tmp_path / "out", batch_sizes=(1, 2, 4))


def test_another_backend_of_keras_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    with pytest.raises(InvalidArgumentError, match="Keras runs on jax here: set KERAS_BACKEND"):
        export(functional(keras3), tmp_path / "out")


def test_nothing_of_an_export_stays_bound(tmp_path):
    tftrt_toolkit.set_executors(["onnxruntime"])
    try:
        known = {one.resource for one in tftrt_toolkit.runtime_stats()}
        export(functional(keras3), tmp_path / "out")
        before = [one for one in tftrt_toolkit.runtime_stats() if one.resource not in known]
        assert {one.executor for one in before} <= {"native"}
        run(tmp_path / "out", images=IMAGES[:3])
        (after,) = [one for one in tftrt_toolkit.runtime_stats() if one.resource not in known]
        assert after.executor == "onnxruntime"
        # The idle engine's own calls are forgotten with it, whenever its model is collected.
        assert after.calls in (1, 1 + sum(one.calls for one in before))
    finally:
        tftrt_toolkit.set_executors(None)
