"""The callback in `fit`, of both Kerases."""

import math
import subprocess
import sys

import keras as keras3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tftrt_toolkit
from tests.keras.models import IMAGES, LABELS, functional
from tftrt_toolkit.errors import InvalidArgumentError, OutputExistsError
from tftrt_toolkit.keras import TensorRTExport
from tftrt_toolkit.validation import ValidationOptions

BOTH = pytest.mark.parametrize("keras", [keras3, tf_keras], ids=["keras3", "tf_keras"])
TRAIN, HELD_OUT = (IMAGES[:64], LABELS[:64]), (IMAGES[64:], LABELS[64:])


def compiled(keras, model=None):
    model = model or functional(keras)
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss, metrics=["accuracy"])
    return model


def planned(keras, values):
    """A callback that puts the metric into the logs that the export is to see."""

    class Planned(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_accuracy"] = values[epoch]

    return Planned()


def fit(model, *callbacks, epochs=2):
    return model.fit(
        *TRAIN, epochs=epochs, validation_data=HELD_OUT, callbacks=list(callbacks), verbose=0
    ).history


@BOTH
def test_at_the_end_of_training(keras, tmp_path):
    model = compiled(keras)
    callback = TensorRTExport(
        tmp_path / "out",
        precision_mode="INT8",
        batch_sizes=(1, 8, 32),
        calibration_data=TRAIN,
        validation_data=HELD_OUT,
    )
    history = fit(model, callback)
    (attempt,) = callback.attempts
    assert not attempt.reason
    assert history["tftrt_passed"] == [1.0]
    assert 10 < history["tftrt_snr_db"][0] < 80
    assert history["tftrt_top1"][0] > 0.9
    assert "serving_default was calibrated on 2 batches" in attempt.exported.report["notes"]
    (result,) = attempt.exported.report["validation"]["signatures"]
    assert result["inputs"] == len(HELD_OUT[0])
    found = tftrt_toolkit.load(tmp_path / "out").signatures["serving_default"](
        images=tf.constant(IMAGES[:4])
    )
    np.testing.assert_allclose(found["scores"], model(IMAGES[:4]), rtol=1e-4, atol=1e-5)


@BOTH
def test_whenever_the_metric_improves(keras, tmp_path):
    callback = TensorRTExport(
        str(tmp_path / "{epoch:02d}-{val_accuracy:.2f}"), monitor="val_accuracy", min_delta=0.1
    )
    log_file = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    metric = planned(keras, [0.5, 0.4, 0.55, 0.7])
    history = fit(compiled(keras), metric, callback, log_file, epochs=4)
    assert [attempt.epoch for attempt in callback.attempts] == [0, 3]
    assert {path.name for path in tmp_path.iterdir()} == {"01-0.50", "04-0.70", "log.csv"}
    assert [value == 1.0 for value in history["tftrt_passed"]] == [True, False, False, True]
    assert math.isnan(history["tftrt_snr_db"][1])
    assert "tftrt_snr_db" in (tmp_path / "log.csv").read_text()


@BOTH
def test_a_failed_conversion_never_breaks_training_and_is_logged_once(keras, tmp_path, caplog):
    class Failing(keras.Model):
        """Can be trained, but not run for inference."""

        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2, activation="softmax")

        def call(self, inputs, training=None):
            if training is False:
                raise RuntimeError("not for inference")
            return self.dense(keras.layers.Flatten()(inputs))

    failing = Failing()
    failing(IMAGES[:1], training=True)
    strict = ValidationOptions(tolerances={"*": {"min_snr_db": 500.0}})
    for options, model, reason in (
        ({"validation_options": strict}, functional(keras), "not saved: "),
        ({"converter_arguments": {"minimum_segment_size": 99}}, functional(keras), "no part of it"),
        ({}, failing, "RuntimeError: "),
    ):
        callback = TensorRTExport(tmp_path / "out", monitor="val_accuracy", **options)
        callbacks = [planned(keras, [0.1, 0.2]), callback]
        caplog.clear()
        history = compiled(keras, model).fit(*TRAIN, epochs=2, callbacks=callbacks, verbose=0)
        assert history.history["tftrt_passed"] == [0.0, 0.0]
        assert [reason in attempt.reason for attempt in callback.attempts] == [True, True]
        told = [one for one in caplog.messages if one.startswith("TensorRTExport: the model after")]
        assert len(told) == 1
        assert not (tmp_path / "out").exists()


def test_the_good_export_stays_when_a_later_one_fails(tmp_path):
    model = compiled(keras3)
    fit(model, TensorRTExport(tmp_path / "out"), epochs=1)
    before = (tmp_path / "out" / "saved_model.pb").read_bytes()
    callback = TensorRTExport(
        tmp_path / "out", overwrite=True, converter_arguments={"minimum_segment_size": 99}
    )
    history = fit(model, callback, epochs=1)
    assert history["tftrt_passed"] == [0.0]
    assert (tmp_path / "out" / "saved_model.pb").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_under_a_distribution_strategy(tmp_path):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = compiled(tf_keras)
    callback = TensorRTExport(tmp_path / "out")
    fit(model, callback, epochs=1)
    assert callback.attempts[0].reason == ""
    assert callback.attempts[0].logs["tftrt_passed"] == 1.0


def test_a_metric_that_is_not_there_is_said_once(tmp_path, caplog):
    callback = TensorRTExport(tmp_path / "out", monitor="val_auc")
    fit(compiled(keras3, functional(keras3)), callback)
    assert callback.attempts == []
    assert len([one for one in caplog.messages if "have no 'val_auc'" in one]) == 1


def test_what_cannot_work_is_refused_before_training(tmp_path):
    with pytest.raises(InvalidArgumentError, match="INT8 needs data"):
        TensorRTExport(tmp_path / "out", precision_mode="INT8")
    with pytest.raises(InvalidArgumentError, match="mode='best' is not known"):
        TensorRTExport(tmp_path / "out", monitor="loss", mode="best")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    with pytest.raises(OutputExistsError):
        TensorRTExport(tmp_path / "out")


def test_importing_the_package_touches_no_keras():
    script = """
import sys, tensorflow
for name in [name for name in sys.modules if name.partition(".")[0] in ("keras", "tf_keras")]:
    del sys.modules[name]
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tf_keras"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import tftrt_toolkit.keras
print(tftrt_toolkit.keras.export.__name__)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-1000:]
    assert result.stdout == "export\n"
