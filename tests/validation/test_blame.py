"""Faults put into engines, weights and TensorFlow nodes are found where they were put."""

import shutil

import numpy as np
import onnx
import pytest
import tensorflow as tf

from tests.validation import faults, small_models
from tftrt_toolkit.errors import InvalidArgumentError, ModelError, ValidationError
from tftrt_toolkit.examples import validate_digits
from tftrt_toolkit.precision import load_overrides
from tftrt_toolkit.validation import ValidationOptions, to_text, validate

CONV, DENSE = "TRTEngineOp_000_000", "TRTEngineOp_000_001"
NATIVE = {"native_ops": ["Relu"], "native_nodes": ["*/sub"]}
BLAME = ValidationOptions(blame=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """An original, and its conversions into two segments around a native Relu."""
    work = tmp_path_factory.mktemp("blame")
    small_models.save(work / "original", offset=2 / 255)
    faults.convert(work / "original", work / "converted", **NATIVE)
    faults.convert(work / "original", work / "converted_fp16", "FP16", **NATIVE)
    return work


FAULTS = {
    "a flipped weight": (CONV, "Conv2D", faults.change_weight("conv", faults.flip_largest)),
    "a wrong scale": (DENSE, "MatMul", faults.change_weight("dense", lambda v: v * 1.01)),
    "a clipped constant": (
        DENSE, "MatMul", faults.change_weight("dense", lambda v: np.clip(v, -0.4, 0.4)),
    ),
    "a NaN": (DENSE, "MatMul", faults.change_weight("dense", faults.put_nan)),
    "a transposed layout": (DENSE, "MatMul_1", faults.change_weight("square", np.transpose)),
    "a swapped output": (DENSE, "", faults.swap_outputs),
}  # fmt: skip


def test_a_sound_model_passes_and_its_segments_are_ranked(models):
    report = validate(models / "original", models / "converted", small_models.batches(),
                      options=BLAME)  # fmt: skip
    assert report.passed
    assert set(report.executed.values()) == {"emulation"}
    assert {finding.segment.rpartition("/")[2] for finding in report.findings} == {CONV, DENSE}
    assert all(finding.snr_db > 100 for finding in report.findings)
    assert not any(finding.advice for finding in report.findings)
    assert "2 segments were emulated" in report.warnings[0]


@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize(
    ("converted", "sound_db"), [("converted", 100), ("converted_fp16", 60)], ids=["FP32", "FP16"]
)
def test_faults_in_an_engine(models, tmp_path, converted, sound_db, fault):
    segment, node, change = FAULTS[fault]
    faulty = faults.with_fault(models / converted, tmp_path / "faulty", segment, change)
    report = validate(models / "original", faulty, small_models.batches(), options=BLAME)
    assert not report.passed
    worst, other = report.findings
    assert worst.segment.endswith(segment)
    assert worst.source == "engine"
    assert worst.snr_db < 45 < sound_db < other.snr_db
    assert worst.node.rpartition("/")[2] == node if node else "MatMul" in worst.node
    swapped = fault == "a swapped output"
    assert ("0 and 1 are swapped" if swapped else "the original's weight") in worst.advice
    assert worst.segment in to_text(report)


def test_what_runs_natively_hides_an_engine_s_fault(models, tmp_path):
    segment, _, change = FAULTS["a NaN"]
    faulty = faults.with_fault(models / "converted", tmp_path / "faulty", segment, change)
    options = ValidationOptions(emulate=False)
    report = validate(models / "original", faulty, small_models.batches(), options=options)
    assert report.passed
    assert "no engine was compared" in report.warnings[0]


def test_emulation_in_a_process_of_its_own(models, tmp_path):
    segment, _, change = FAULTS["a NaN"]
    faulty = faults.with_fault(models / "converted", tmp_path / "faulty", segment, change)
    options = ValidationOptions(isolate=True)
    report = validate(models / "original", faulty, small_models.batches(1), options=options)
    assert not report.passed
    assert set(report.executed.values()) == {"emulation"}


@pytest.mark.parametrize("isolate", [False, True])
def test_an_engine_that_cannot_be_emulated_is_no_pass(models, tmp_path, isolate):
    """TensorFlow stands in for it, so the outputs would be right."""
    faulty = shutil.copytree(models / "converted", tmp_path / "faulty")
    first, second = sorted((faulty / "assets").iterdir())
    first.write_bytes(second.read_bytes())
    options = ValidationOptions(isolate=isolate)
    with pytest.raises(ValidationError, match=f"{CONV} can't be emulated"):
        validate(models / "original", faulty, small_models.batches(1), options=options)


def test_a_changed_variable(models, tmp_path):
    values = small_models.weights()
    values["dense"] = faults.flip_largest(values["dense"])
    small_models.save(tmp_path / "other", values=values, offset=2 / 255)
    faulty = faults.convert(tmp_path / "other", tmp_path / "faulty", **NATIVE)
    report = validate(models / "original", faulty, small_models.batches(), options=BLAME)
    assert not report.passed
    worst = report.findings[0]
    assert worst.segment.endswith(DENSE)
    assert worst.source == "weights"
    assert worst.node.endswith("MatMul")
    assert "isn't the original's" in worst.advice


def test_preprocessing_that_is_off_by_one(models, tmp_path):
    small_models.save(tmp_path / "other", offset=1 / 255)
    faulty = faults.convert(tmp_path / "other", tmp_path / "faulty", **NATIVE)
    report = validate(models / "original", faulty, small_models.batches(), options=BLAME)
    assert not report.passed
    worst = report.findings[0]
    assert worst.source == "native"
    assert worst.node.endswith("sub")
    assert all(finding.snr_db > 100 for finding in report.findings[1:])


def test_a_wrong_quantization_scale(tmp_path):
    """INT8, with activations that reach a product dequantized to twice their size."""
    converted = tmp_path / "converted"
    validate_digits.convert("digits_cnn", "INT8", converted)

    def double(proto, _):
        (node,) = (n for n in proto.graph.node if n.name.endswith("hidden_1/MatMul"))
        dequantize = next(n for n in proto.graph.node if n.output[0] == node.input[0])
        assert dequantize.op_type == "DequantizeLinear"
        scale = next(t for t in proto.graph.initializer if t.name == dequantize.input[1])
        value = onnx.numpy_helper.to_array(scale) * np.float32(2)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, "twice"))
        dequantize.input[1] = "twice"

    faulty = faults.with_fault(converted, tmp_path / "faulty", CONV, double)
    report = validate_digits.validate_model("digits_cnn", faulty)
    assert not report.passed
    (finding,) = report.findings
    assert finding.segment.endswith(CONV)
    assert finding.node.endswith("hidden_1/MatMul")


def test_random_nodes_are_no_finding(tmp_path):
    """Dropout that is off still draws its random numbers, and each run draws others."""

    class Dropout(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(np.eye(8, dtype=np.float32) * 3)

        @tf.function(input_signature=[tf.TensorSpec((None, 8), tf.float32, name="x")])
        def serve(self, x):
            kept = tf.cast(tf.random.uniform(tf.shape(x)) >= 0.0, tf.float32)
            return {"y": tf.tanh(tf.matmul(tf.sin(x), self.kernel)) * kept}

    model = Dropout()
    tf.saved_model.save(model, str(tmp_path / "original"), {"serving_default": model.serve})
    converted = faults.convert(tmp_path / "original", tmp_path / "converted")
    inputs = [np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)]
    report = validate(tmp_path / "original", converted, inputs, options=BLAME)
    assert report.passed
    assert report.findings
    assert all(finding.source == "engine" for finding in report.findings)


def test_what_a_precision_always_costs_is_told_as_such(models):
    options = ValidationOptions(blame=True, tolerances={"*": {"min_snr_db": 90}})
    report = validate(
        models / "original", models / "converted_fp16", small_models.batches(), options=options
    )
    assert not report.passed
    for finding in report.findings:
        assert "allow for it in the tolerances" in finding.advice
        assert finding.precision_line.endswith("  *  FP32")


class Tiny(tf.Module):
    """A product whose results FP16 can't hold where inputs are small, as trial runs' aren't."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.first = tf.Variable(rng.normal(0, 0.3, (16, 16)).astype(np.float32))
        self.tiny = tf.Variable(rng.normal(0, 3e-4, (16, 16)).astype(np.float32))
        self.last = tf.Variable(rng.normal(0, 0.3, (16, 4)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, 16), tf.float32, name="x")])
    def serve(self, x):
        x = tf.nn.relu(tf.matmul(x, self.first, name="first"))
        x = tf.matmul(x, self.tiny, name="tiny") * 1e7
        return {"y": tf.matmul(x, self.last, name="last")}


def test_a_node_that_a_precision_hurts(tmp_path):
    model = Tiny()
    tf.saved_model.save(model, str(tmp_path / "original"), {"serving_default": model.serve})
    converted = faults.convert(tmp_path / "original", tmp_path / "converted", "FP16")
    inputs = [np.random.default_rng(1).normal(0, 1e-4, (16, 16)).astype(np.float32)]
    report = validate(tmp_path / "original", converted, inputs, options=BLAME)
    assert not report.passed
    (finding,) = report.findings
    assert finding.node.endswith("tiny")
    assert finding.snr_db < 30
    assert finding.advice.startswith("keep ")
    assert "tiny in FP32: SNR" in finding.advice
    (tmp_path / "precision.txt").write_text(finding.precision_line + "\n")
    (line,) = load_overrides(tmp_path / "precision.txt")
    assert (line.segment, line.precision) == (CONV, "FP32")
    assert line.node.endswith("tiny")


def test_a_shape_that_segments_and_tensorflow_share(tmp_path):
    """It is copied into the segment, and stays outside for the op that has no engine."""
    module = tf.Module()
    module.kernel = tf.Variable(tf.random.stateless_normal([4, 8], [1, 2]))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")])
    def serve(x):
        size = tf.shape(x)[0]
        y = tf.reshape(tf.nn.relu(x @ module.kernel), [size, 2, 4])
        return {"y": y * 2.0, "size": tf.strings.as_string(size)}

    tf.saved_model.save(module, str(tmp_path / "original"), {"serving_default": serve})
    converted = faults.convert(tmp_path / "original", tmp_path / "converted")
    report = validate(
        tmp_path / "original",
        converted,
        [np.ones((3, 4), np.float32)],
        options=BLAME,
    )
    assert report.passed
    assert len(report.findings) == 1


def test_models_without_segments_to_blame(models, tmp_path):
    with pytest.raises(ModelError, match="no conversion report"):
        validate(models / "original", models / "original", small_models.batches(1), options=BLAME)
    shutil.copytree(models / "converted", tmp_path / "other")
    model = Tiny()
    tf.saved_model.save(model, str(tmp_path / "tiny"), {"serving_default": model.serve})
    with pytest.raises(InvalidArgumentError, match="directories"):
        validate(small_models.function(), models / "converted", options=BLAME)
