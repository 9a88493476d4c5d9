"""Sound models pass, every kind of fault fails, and misfits are told in one line."""

import json
import resource
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.validation import small_models
from tftrt_toolkit.errors import (
    InputError,
    InvalidArgumentError,
    ModelError,
    ValidationError,
)
from tftrt_toolkit.validation import ValidationOptions, to_text, validate, verdict_line

PAGE = resource.getpagesize()


@pytest.fixture(scope="module")
def original():
    return small_models.function()


def changed(name, change):
    values = small_models.weights()
    values[name] = change(values[name].copy())
    return small_models.function(values=values)


def scaled(values, factor):
    return values * np.float32(factor)


def poked(values, value):
    values.reshape(-1)[3] = value
    return values


FAULTS = {
    "a flipped weight": lambda: changed("dense", lambda v: poked(v, -v.reshape(-1)[3])),
    "a wrong scale": lambda: changed("conv", lambda v: scaled(v, 1.001)),
    "a clipped constant": lambda: changed("dense", lambda v: np.clip(v, -0.5, 0.5)),
    "a NaN": lambda: changed("dense", lambda v: poked(v, np.nan)),
    "a transposed layout": lambda: changed("square", lambda v: np.ascontiguousarray(v.T)),
    "a swapped output": lambda: small_models.function(swap=True),
    "an off-by-one preprocessing": lambda: small_models.function(offset=1 / 255),
}


def test_a_sound_model_passes(original):
    report = validate(original, small_models.function(), small_models.batches())
    assert report.passed
    assert report.signatures[0].inputs == 64
    assert report.precision == "FP32"
    assert {output.name for output in report.signatures[0].outputs} == {"logits", "mixed"}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_faults_fail(original, fault):
    report = validate(original, FAULTS[fault](), small_models.batches())
    assert not report.passed
    assert verdict_line(report).startswith("FAIL")


def test_rounding_passes_in_fp16_and_fails_in_fp32(original):
    rounded = {
        k: v.astype(np.float16).astype(np.float32) for k, v in small_models.weights().items()
    }
    other = small_models.function(values=rounded)
    for precision, passes in (("FP32", False), ("FP16", True), ("INT8", True)):
        options = ValidationOptions(precision=precision)
        report = validate(original, other, small_models.batches(), options=options)
        assert report.passed is passes, precision


def test_tolerances_by_output(original):
    other = changed("square", lambda v: scaled(v, 1.001))
    loose = {"max_scaled": 0.1, "min_snr_db": 40, "min_top1": 0.9}
    options = ValidationOptions(tolerances={"mixed": loose})
    assert validate(original, other, small_models.batches(), options=options).passed
    options = ValidationOptions(tolerances={"logits": loose})
    report = validate(original, other, small_models.batches(), options=options)
    assert {failure.split(":")[0] for failure in report.failures} == {"output mixed"}


@pytest.mark.parametrize(
    ("tolerances", "words"),
    [
        ({"nothing": {"min_snr_db": 1}}, "nothing"),
        ({"*": {"snr": 1}}, "min_snr_db"),
        ({"*": {"min_top1": 2}}, "between 0 and 1"),
    ],
)
def test_bad_tolerances(original, tolerances, words):
    with pytest.raises(InvalidArgumentError, match=words):
        validate(original, original, small_models.batches(),
                 options=ValidationOptions(tolerances=tolerances))  # fmt: skip


def labelled_batches(original, wrong=0):
    pairs = []
    for images in small_models.batches():
        labels = original(images=tf.constant(images))["logits"].numpy().argmax(axis=1)
        labels[:wrong] = (labels[:wrong] + 1) % small_models.CLASSES
        pairs.append((images, labels))
    return pairs


def test_labels_give_accuracy_with_an_interval(original):
    options = ValidationOptions(
        labelled=True,
        main_output="logits",
        metrics={
            "margin": lambda labels, scores: scores[np.arange(len(labels)), labels],
            "auc": keras.metrics.SparseCategoricalAccuracy(),
        },
        metric_limits={"margin": 0.01},
    )
    other = changed("dense", lambda v: poked(v, 3.0))
    report = validate(original, other, labelled_batches(original, wrong=2), options=options)
    metrics = {metric.name: metric for metric in report.signatures[0].metrics}
    assert metrics.keys() == {"accuracy", "top5_accuracy", "margin", "auc"}
    accuracy, keras_accuracy = metrics["accuracy"].estimate, metrics["auc"].estimate
    assert accuracy.original == 56 / 64
    assert accuracy.low < accuracy.difference < accuracy.high
    assert keras_accuracy.original == pytest.approx(accuracy.original)
    assert keras_accuracy.converted == pytest.approx(accuracy.converted)
    assert keras_accuracy.low < keras_accuracy.difference < keras_accuracy.high
    assert any("margin: it changes" in failure for failure in report.failures)


def test_few_inputs_cannot_tell_a_small_drop(original):
    options = ValidationOptions(labelled=True, main_output="logits")
    report = validate(original, original, labelled_batches(original), options=options)
    assert report.passed
    (warning,) = report.signatures[0].metrics[0].warnings
    assert warning.startswith("64 inputs can't tell")


def test_random_inputs_are_named_as_such(original):
    report = validate(original, original, options=ValidationOptions(precision="INT8"))
    assert report.passed
    assert "INT8" in report.warnings[0]
    assert report.signatures[0].inputs == 64


def failing_on_second_batch():
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def serve(x):
        with tf.control_dependencies([tf.debugging.assert_less(tf.reduce_max(x), 5.0)]):
            return {"y": x * 2.0}

    return serve.get_concrete_function()


BATCHES = [np.float32([1, 2]), np.float32([9]), np.float32([3])]


def test_a_batch_that_raises_is_named():
    function = failing_on_second_batch()
    with pytest.raises(ValidationError, match="batch 1: the original model"):
        validate(function, function, BATCHES)


def test_keep_going_reports_the_batch_and_goes_on():
    function = failing_on_second_batch()
    report = validate(function, function, BATCHES, options=ValidationOptions(keep_going=True))
    (result,) = report.signatures
    assert (result.batches, result.inputs) == (2, 3)
    assert [failure.batch for failure in result.batch_failures] == [1]
    assert not report.passed


def test_a_random_model_is_found_out():
    noisy = small_models.function(noise=0.1)
    report = validate(noisy, noisy, small_models.batches(1))
    assert not report.passed
    assert "dropout" in report.failures[0]
    loose = {"max_scaled": 9, "min_snr_db": 0, "min_top1": 0}
    options = ValidationOptions(tolerances={"logits": loose, "mixed": loose})
    report = validate(noisy, noisy, small_models.batches(1), options=options)
    assert report.passed
    assert "dropout" in report.signatures[0].warnings[0]


def signature(shape=(None, 2), dtype=tf.float32, name="x", output="y"):
    @tf.function(input_signature=[tf.TensorSpec(shape, dtype, name=name)])
    def serve(value):
        return {output: value}

    return serve.get_concrete_function()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "z"}, r"inputs \['x'\] became \['z'\]"),
        ({"output": "z"}, r"outputs \['y'\] became \['z'\]"),
        ({"dtype": tf.float64}, "input 'x' was float32 and is float64"),
        ({"shape": (1, 2)}, r"input 'x' had shape \(None, 2\) and has \(1, 2\)"),
        ({"shape": (None, 3)}, r"had shape \(None, 2\) and has \(None, 3\)"),
    ],
)
def test_misfits_are_told_in_one_line(change, words):
    with pytest.raises(ModelError, match=words) as error:
        validate(signature(), signature(**change))
    assert "\n" not in str(error.value)


def test_unknown_signature(original):
    with pytest.raises(InvalidArgumentError, match="serving_default"):
        validate(original, original, options=ValidationOptions(signature_keys=("train",)))


def test_batches_and_outputs_without_rows(original):
    (some,) = small_models.batches(1)
    none = some[:0]
    report = validate(original, original, [none, some, none])
    assert (report.signatures[0].batches, report.signatures[0].inputs) == (1, len(some))
    with pytest.raises(ValidationError, match="there is no input for it"):
        validate(original, original, [none])

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")])
    def positive(x):  # of rows that none may pass
        return {"rows": tf.boolean_mask(x, x[:, 0] > 0)}

    found = positive.get_concrete_function()
    assert validate(found, found, [-np.ones((3, 4), np.float32)]).passed


def test_no_inputs(original):
    with pytest.raises(ValidationError, match="no input"):
        validate(original, original, [])


def test_bad_inputs(original):
    with pytest.raises(InputError, match="batch 0"):
        validate(original, original, [np.zeros((2, 3), np.float32)])


def test_several_signatures_and_shapes(tmp_path):
    module = tf.Module()
    module.scale = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.float32, name="x")])
    def double(x):
        return {"y": x * module.scale}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
    def upper(text):
        return {"text": tf.strings.upper(text)}

    tf.saved_model.save(module, str(tmp_path / "model"), {"double": double, "upper": upper})
    inputs = {
        "double": [np.ones((2, size), np.float32) for size in (3, 5, 7)],
        "upper": [np.array([b"a", b"b"], object)],
    }
    report = validate(tmp_path / "model", str(tmp_path / "model"), inputs)
    assert report.passed
    assert [(result.key, result.batches) for result in report.signatures] == [
        ("double", 3),
        ("upper", 1),
    ]


def test_memory_does_not_grow_with_batches(original):
    """TensorFlow's neither: 12 batches of 2 MB would be seen, if half of them stayed."""
    resident = []

    def batches():
        rng = np.random.default_rng(0)
        for _ in range(20):
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE)
            yield rng.random((8192, 8, 8, 1), dtype=np.float32)

    assert validate(original, original, batches).passed
    assert max(resident[8:]) - max(resident[:8]) < 12e6


def test_json_and_text(original):
    report = validate(original, FAULTS["a NaN"](), small_models.batches())
    found = json.loads(report.to_json())
    assert found["passed"] is False
    assert found["failures"]
    assert found["signatures"][0]["outputs"][0]["errors"]["nonfinite"] > 0
    assert found["signatures"][0]["worst"][0]["share"] == "inf"
    text = to_text(report)
    assert text.startswith("FAIL")
    assert "NaN" in text
