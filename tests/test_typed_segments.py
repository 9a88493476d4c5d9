"""Calibration files, the choice of a calibrator, FP16's ranges: through the public converter."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.onnx_text import dtypes
from tftrt_toolkit import ShapeRange, ToolkitOptions, TrtGraphConverterV2
from tftrt_toolkit.errors import CalibrationError, InvalidArgumentError
from tftrt_toolkit.examples.digits import load_split
from tftrt_toolkit.inputs import InputDirectory
from tftrt_toolkit.onnx_model import run_session, to_session
from tftrt_toolkit.precision import (
    Calibrator,
    emulate,
    load_calibrations,
    load_overrides,
    save_calibrations,
)

MODELS = Path(__file__).parents[1] / "saved_models"
RANGE = ShapeRange((1, 8, 8, 1), (8, 8, 8, 1), (64, 8, 8, 1))
TRAINING, HELD_OUT = load_split()
IMAGES = [batch.images for batch in TRAINING.batches(50)][:4]


def converter(model=MODELS / "digits_cnn", precision="INT8", use_calibration=True, **options):
    shapes = {} if options.pop("unknown_shapes", False) else {"image": RANGE}
    options = {"compute_capabilities": ("8.9",), "input_shapes": shapes} | options
    return TrtGraphConverterV2(
        str(model),
        precision_mode=precision,
        use_dynamic_shape=True,
        use_calibration=use_calibration,
        options=ToolkitOptions(**options),
    )


def entry(made):
    (segment,) = made.report()["segments"]
    json.dumps(made.report())
    return segment


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """INT8 from data, and the calibration file that it wrote."""
    made = converter(report_kernels=True)
    made.convert(calibration_input_fn=lambda: iter(IMAGES))
    path = tmp_path_factory.mktemp("calibration") / "digits_cnn.json"
    made.save_calibration_file(path)
    return made, path


def onnx_bytes(made):
    typed = made._conversion.engines.engines[0].typed
    return typed.model.proto.SerializeToString(deterministic=True)


def test_a_calibration_file_stands_for_the_data(calibrated):
    first, path = calibrated
    again = converter(calibration_file=path)
    again.convert()
    assert onnx_bytes(again) == onnx_bytes(first)
    assert entry(again)["ranges"] == {"source": "file", "batches": 4, "samples": 200}
    assert entry(first)["ranges"] == {"source": "data", "batches": 4, "samples": 200}
    # The method can change without the data, and shapes needn't be known.
    other = converter(calibration_file=path, calibrator="mse", unknown_shapes=True)
    other.convert()
    assert onnx_bytes(other) != onnx_bytes(first)


def test_files_of_two_machines_add_up_to_one(calibrated, tmp_path):
    first, _ = calibrated
    for name, images in (("a.json", IMAGES[:1]), ("b.json", IMAGES[1:])):
        made = converter(precision="FP8")
        made.convert(calibration_input_fn=images)
        made.save_calibration_file(tmp_path / name)
    a, b = load_calibrations(tmp_path / "a.json"), load_calibrations(tmp_path / "b.json")
    save_calibrations(tmp_path / "both.json", {name: a[name] + b[name] for name in a})
    both = converter(calibration_file=tmp_path / "both.json")
    both.convert()
    assert onnx_bytes(both) == onnx_bytes(first)


def test_rtx_keeps_convolutions_and_says_so_for_each(calibrated):
    segment = entry(calibrated[0])
    convolutions = [one for one in segment["plan_islands"] if one["op"] == "Conv"]
    assert len(convolutions) == 3
    assert all("TensorRT-RTX has no INT8" in one["reason"] for one in convolutions)
    assert len(segment["kernels"]["reached"]) == 1  # the dense layer
    assert segment["kernels"]["missed"] == ()


def test_a_file_of_another_model(calibrated, tmp_path):
    _, path = calibrated
    with pytest.raises(CalibrationError, match=r"digits_cnn\.json .*another model") as caught:
        converter(MODELS / "digits_vit", calibration_file=path).convert()
    assert "\n" not in str(caught.value)
    ((name, calibration),) = load_calibrations(path).items()
    retrained = {name: type(calibration)("0" * 64, 1, 1, calibration.tensors)}
    save_calibrations(tmp_path / "retrained.json", retrained)
    with pytest.raises(CalibrationError, match="another model"):
        converter(calibration_file=tmp_path / "retrained.json").convert()
    with pytest.raises(CalibrationError, match="can't be read"):
        converter(calibration_file=tmp_path / "missing.json").convert()


def test_data_and_a_file_are_one_too_many(calibrated):
    _, path = calibrated
    with pytest.raises(InvalidArgumentError, match="both given"):
        converter(calibration_file=path).convert(calibration_input_fn=IMAGES)
    with pytest.raises(InvalidArgumentError, match="take none"):
        converter(precision="FP32", calibration_file=path).convert()
    with pytest.raises(InvalidArgumentError, match="INT8 needs calibration_input_fn"):
        converter().convert()
    with pytest.raises(RuntimeError, match="nothing was calibrated"):
        converter().save_calibration_file("nowhere")


def test_nan_in_the_data_is_told_with_its_batch():
    bad = IMAGES[1].copy()
    bad[3, 0, 0, 0] = np.nan
    with pytest.raises(CalibrationError, match=r"batch 1: input .* holds NaN") as caught:
        converter().convert(calibration_input_fn=[IMAGES[0], bad])
    assert "\n" not in str(caught.value)


def test_a_directory_of_files_calibrates(calibrated, tmp_path):
    for index, images in enumerate(IMAGES):
        np.savez(tmp_path / f"{index}.npz", image=images)
    made = converter()
    made.convert(calibration_input_fn=tmp_path)
    assert onnx_bytes(made) == onnx_bytes(calibrated[0])
    with pytest.raises(ValueError, match="no directory"):
        converter().convert(calibration_input_fn=InputDirectory(tmp_path / "missing"))


def test_auto_chooses_on_the_data():
    wild = [IMAGES[0].copy(), *IMAGES[1:]]
    wild[0][0] *= 30
    made = converter(calibrator="auto")
    made.convert(calibration_input_fn=wild)
    (note,) = [note for note in made.report()["notes"] if "did best" in note]
    assert note.split()[-3] != "max"


def test_auto_needs_data(calibrated):
    with pytest.raises(InvalidArgumentError, match="'auto' compares results on data"):
        converter(calibrator="auto", calibration_file=calibrated[1]).convert()


def test_trial_runs_that_tell_no_ranges(overflowing, monkeypatch):
    monkeypatch.setattr(Calibrator, "add", refuse)
    made = converter(overflowing, "FP16", input_shapes={"x": X})
    made.convert()
    assert entry(made)["ranges"] is None
    assert entry(made)["islands"] == []
    assert any("its constants alone decide" in note for note in made.report()["notes"])


def refuse(*_):
    raise CalibrationError("an input holds NaN")


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory):
    """Two products between which values leave FP16's range, though no constant does."""
    directory = tmp_path_factory.mktemp("models") / "overflowing"
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(16, 16)).astype(np.float32) for _ in range(2))

    @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
    def serve(x):
        hidden = tf.nn.relu(tf.linalg.matmul(x, first * np.float32(1e4)))
        return {"y": tf.linalg.matmul(hidden, second * np.float32(1e-3))}

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(directory), signatures={"serving_default": serve})
    return directory


X = ShapeRange((1, 16), (4, 16), (8, 16))


def test_fp16_takes_its_ranges_from_trial_runs(overflowing):
    made = converter(overflowing, "FP16", input_shapes={"x": X})
    made.convert()
    segment = entry(made)
    assert segment["ranges"]["source"] == "trial runs"
    assert any("in calibration" in one["reason"] for one in segment["islands"])
    assert any("trial runs on made-up inputs" in note for note in made.report()["notes"])
    assert any("BF16" in note and "would keep 0" in note for note in made.report()["notes"])


def test_fp16_takes_data_too(overflowing):
    small = [np.full((4, 16), 1e-4, np.float32)]
    made = converter(overflowing, "FP16", input_shapes={"x": X})
    made.convert(calibration_input_fn=small)
    assert entry(made)["ranges"]["source"] == "data"
    assert not [one for one in entry(made)["islands"] if "in calibration" in one["reason"]]


def test_the_precision_file_is_obeyed(tmp_path):
    path = tmp_path / "precision"
    path.write_text("*  */hidden_1/MatMul*  FP32  # wanted\n")
    made = converter(precision="FP16", precision_file=path)
    made.convert()
    (island,) = entry(made)["islands"]
    assert island["reason"] == "asked for by '*/hidden_1/MatMul*'"
    made.save_precision_file(tmp_path / "again")
    assert load_overrides(tmp_path / "again") == load_overrides(path)
    path.write_text("one two\n")
    with pytest.raises(InvalidArgumentError, match="line 1"):
        converter(precision="FP16", precision_file=path).convert()


def test_what_runs_beside_quantized_nodes():
    made = converter(rest_precision="BF16", quantize_attention=True)
    made.convert(calibration_input_fn=IMAGES)
    types = set(dtypes(made._conversion.engines.engines[0].typed.model.proto).values())
    assert "BFLOAT16" in types
    assert "FLOAT16" not in types


def test_sparse_weights_are_reported(overflowing):
    made = converter(overflowing, "FP16", input_shapes={"x": X}, sparse_weights=True)
    made.convert()
    assert len(entry(made)["plans"]) == 1
    sparsity = entry(made)["sparsity"]
    assert (sparsity["weights"], sparsity["qualifying"]) == (2, [])
    assert all("groups of four" in why for why in sparsity["others"].values())


def test_int8_without_data_or_fake_quantization():
    with pytest.raises(CalibrationError, match="INT8 needs calibration") as caught:
        converter(use_calibration=False).convert()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["FP16", "INT8", "FP8"])
def test_dead_inputs_calibrate_to_something_finite(precision):
    made = converter(precision=precision, calibrator="entropy")
    made.convert(calibration_input_fn=[np.zeros((4, 8, 8, 1), np.float32)])
    model = emulate(made._conversion.engines.engines[0].typed)
    outputs = run_session(to_session(model, optimize=False), model, [HELD_OUT.images[:8]])
    assert np.isfinite(outputs[0]).all()


@pytest.fixture(scope="module")
def half_aware(tmp_path_factory):
    """Two products with a native op between; only the first is quantization-aware."""
    directory = tmp_path_factory.mktemp("models") / "half_aware"
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(16, 16)).astype(np.float32) for _ in range(2))

    @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
    def serve(x):
        x = tf.quantization.fake_quant_with_min_max_args(x, -4, 4)
        weight = tf.quantization.fake_quant_with_min_max_args(first, -3, 3)
        x = tf.nn.relu(tf.linalg.matmul(x, weight))
        return {"y": tf.nn.softmax(tf.linalg.matmul(tf.math.asinh(x), second))}

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(directory), signatures={"serving_default": serve})
    return directory


def test_segments_without_fake_quantization_run_in_half(half_aware):
    made = converter(
        half_aware,
        use_calibration=False,
        input_shapes={"x": X},
        native_ops=["Asinh"],
    )
    made.convert()
    precisions = sorted(one["precision"] for one in made.report()["segments"])
    assert precisions == ["FP16", "INT8"]
    assert any("no fake quantization: it runs in FP16" in one for one in made.report()["notes"])


@pytest.mark.parametrize("precision", ["BF16", "FP8", "INT4"])
def test_precisions_beyond_stock_build(precision):
    made = converter(precision=precision)
    made.convert(calibration_input_fn=IMAGES)
    segment = entry(made)
    assert segment["precision"] == precision
    assert len(segment["plans"]) == 1
