from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import ValidationOptions, validate
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError, ModelError, ValidationError
from tftrt_toolkit.validation.tflite import TFLiteModel, convert_to_tflite, open_model

MODEL = Path(__file__).resolve().parents[2] / "saved_models" / "digits_cnn"


class PythonModel(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def serve(self, x):
        return {"y": tf.py_function(lambda value: value + 1, [x], tf.float32)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tflite")
    for precision in ("FP32", "FP16", "INT8"):
        convert_to_tflite(MODEL, directory / f"{precision}.tflite", precision=precision)
    return directory


def test_precisions_shrink_the_file_and_cost_accuracy(files):
    sizes = [(files / f"{name}.tflite").stat().st_size for name in ("FP32", "FP16", "INT8")]
    assert sizes[0] > 1.8 * sizes[1] > 1.8 * 1.5 * sizes[2]
    options = ValidationOptions(precision="INT8", max_batches=2)
    snr = [
        validate(MODEL, files / f"{name}.tflite", options=options).signatures[0].outputs[0].errors
        for name in ("FP32", "FP16", "INT8")
    ]
    assert snr[0].snr_db > 100 > snr[1].snr_db > 45 > snr[2].snr_db > 20


def test_any_batch_runs_and_what_does_not_fit_is_told(files):
    model = open_model(files / "FP32.tflite")
    assert isinstance(model, TFLiteModel)
    specs = model.signatures["serving_default"]
    assert specs.inputs["image"].shape.as_list() == [None, 8, 8, 1]
    assert specs.outputs["logits"].dtype == tf.float32
    for batch in (1, 5, 2):
        inputs = {"image": np.zeros((batch, 8, 8, 1), np.float32)}
        assert model.run("serving_default", inputs)["logits"].shape == (batch, 10)
    for wrong in (np.zeros((1, 9, 9, 1), np.float32), np.zeros((1, 8, 8, 1), np.int32)):
        with pytest.raises(ValidationError, match="image") as caught:
            model.run("serving_default", {"image": wrong})
        assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    for name in ("bad.tflite", "missing.tflite"):
        with pytest.raises(ModelError, match="can't be read as a TensorFlow Lite model") as caught:
            open_model(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_models_that_tflite_refuses(tmp_path):
    with pytest.raises(InvalidArgumentError, match="'FP8' is not one of"):
        convert_to_tflite(MODEL, tmp_path / "out.tflite", precision="FP8")
    with pytest.raises(ModelError, match="no SavedModel in"):
        convert_to_tflite(tmp_path, tmp_path / "out.tflite")
    model = PythonModel()
    tf.saved_model.save(model, str(tmp_path / "python"), signatures=model.serve)
    with pytest.raises(ConversionError, match=r"Lite model: 'tf\.EagerPyFunc' op is") as caught:
        convert_to_tflite(tmp_path / "python", tmp_path / "out.tflite")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.tflite").exists()
