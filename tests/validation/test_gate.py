"""A model that fails isn't saved; or its guilty segments go back to TensorFlow."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import ShapeRange, ToolkitOptions, TrtGraphConverterV2
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import InvalidArgumentError, ValidationError
from tftrt_toolkit.validation import Gate, ValidationOptions, validate


class TwoParts(tf.Module):
    """A sound part; and, behind a native Relu, one whose weights FP16 can't hold.

    A large column beside them, which comes to nothing, hides that from the trial runs' ranges.
    """

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        shapes = {"first": 0.3, "second": 0.3, "tiny": 3e-8, "last": 0.3}
        self.kernels = {
            name: tf.Variable(rng.normal(0, size, (16, 16)).astype(np.float32), name=name)
            for name, size in shapes.items()
        }
        self.kernels["tiny"][:, 0].assign(np.ones(16, np.float32))
        self.scale = np.full(16, 1e7, np.float32)
        self.scale[0] = 0

    @tf.function(input_signature=[tf.TensorSpec((None, 16), tf.float32, name="x")])
    def serve(self, x):
        x = tf.tanh(tf.matmul(x, self.kernels["first"], name="first"))
        x = tf.nn.relu(tf.matmul(x, self.kernels["second"], name="second"))
        x = tf.matmul(x, self.kernels["tiny"], name="tiny") * self.scale
        return {"y": tf.tanh(tf.matmul(x, self.kernels["last"], name="last"))}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gate") / "original"
    model = TwoParts()
    tf.saved_model.save(model, str(directory), {"serving_default": model.serve})
    return directory


@pytest.fixture(scope="module")
def inputs():
    return [np.random.default_rng(1).normal(size=(32, 16)).astype(np.float32)]


def converted(original, precision):
    converter = TrtGraphConverterV2(
        str(original),
        use_dynamic_shape=True,
        precision_mode=precision,
        options=ToolkitOptions(native_ops=["Relu"]),
    )
    converter.convert()
    return converter


def test_a_sound_model_is_saved_with_its_validation(original, inputs, tmp_path):
    converter = converted(original, "FP32")
    converter.save(str(tmp_path / "out"), validate=Gate(input_fn=inputs))
    report = json.loads((tmp_path / "out/assets.extra/tftrt_report.json").read_text())
    assert report["validation"]["passed"] is True
    assert report["validation"]["demoted"] == {}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_model_that_fails_is_not_saved(original, inputs, tmp_path):
    converter = converted(original, "FP16")
    with pytest.raises(ValidationError, match="not saved: FAIL") as error:
        converter.save(str(tmp_path / "out"), validate=Gate(input_fn=inputs))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_guilty_segments_are_demoted(original, inputs, tmp_path):
    converter = converted(original, "FP16")
    before = {segment["name"] for segment in converter.report()["segments"]}
    converter.save(str(tmp_path / "out"), validate=Gate(input_fn=inputs, demote=True))
    report = converter.report()
    (guilty,) = report["validation"]["demoted"]
    assert guilty in before
    assert len(report["segments"]) == len(before) - 1
    assert any(entry["reason"].startswith("validation: ") for entry in report["refused"])
    assert validate(original, tmp_path / "out", inputs).passed


class Outliers(tf.Module):
    """A sound part; and one with a feature so large that INT8 has no steps left for the others."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.first = tf.Variable(rng.normal(0, 0.3, (16, 16)).astype(np.float32), name="first")
        self.scale = np.ones(16, np.float32)
        self.scale[0] = 1e4
        last = rng.normal(0, 0.3, (16, 16)).astype(np.float32) / self.scale[:, None]
        self.last = tf.Variable(last, name="last")

    @tf.function(input_signature=[tf.TensorSpec((None, 16), tf.float32, name="x")])
    def serve(self, x):
        x = tf.tanh(tf.matmul(x, self.first, name="first"))
        x = tf.nn.relu(tf.matmul(x, self.first, name="second") + 0.5)
        x = tf.matmul(x * self.scale, self.last, name="outliers")
        return {"y": tf.tanh(x)}


def test_an_int8_segment_is_demoted_and_the_others_keep_their_calibration(inputs, tmp_path):
    model = Outliers()
    tf.saved_model.save(model, str(tmp_path / "original"), {"serving_default": model.serve})
    converter = TrtGraphConverterV2(
        str(tmp_path / "original"),
        use_dynamic_shape=True,
        precision_mode="INT8",
        options=ToolkitOptions(
            native_ops=["Relu"],
            input_shapes={"x": ShapeRange((1, 16), (32, 16), (32, 16))},
            compute_capabilities=["8.9"],
        ),
    )
    converter.convert(lambda: [{"x": inputs[0]}])
    with pytest.raises(ValidationError, match="not saved: FAIL"):
        converter.save(str(tmp_path / "out"), validate=Gate(input_fn=inputs))
    converter.save(str(tmp_path / "out"), validate=Gate(input_fn=inputs, demote=True))
    report = converter.report()
    (reason,) = report["validation"]["demoted"].values()
    assert "outliers" in reason
    assert [segment["precision"] for segment in report["segments"]] == ["INT8"]
    (asset,) = (tmp_path / "out" / "assets").iterdir()
    ops = [node.op_type for node in AssetFile.open(asset).load_onnx().model.proto.graph.node]
    assert ops.count("QuantizeLinear") >= 2


def test_a_tolerance_that_nothing_meets(original, inputs, tmp_path):
    converter = converted(original, "FP32")
    options = ValidationOptions(tolerances={"y": {"min_snr_db": 1000}})
    with pytest.raises(ValidationError, match="not saved"):
        converter.save(str(tmp_path / "out"), validate=Gate(input_fn=inputs, options=options))
    assert not list(tmp_path.iterdir())


def test_one_shot_inputs_are_refused(inputs):
    with pytest.raises(InvalidArgumentError, match="iterator"):
        Gate(input_fn=iter(inputs))
