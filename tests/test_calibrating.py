"""INT8 from a calibration input function, through the public converter."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import ShapeRange, ToolkitOptions, TrtGraphConverterV2
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import InputError
from tftrt_toolkit.examples.digits import load_split
from tftrt_toolkit.onnx_model import run_session, to_session

MODELS = Path(__file__).parents[1] / "saved_models"
RANGE = ShapeRange((1, 8, 8, 1), (8, 8, 8, 1), (64, 8, 8, 1))
TRAINING, HELD_OUT = load_split()


def converter(known_shapes=True, **keywords):
    shapes = {"image": RANGE} if known_shapes else {}
    return TrtGraphConverterV2(
        str(MODELS / "digits_cnn"),
        precision_mode="INT8",
        use_dynamic_shape=True,
        options=ToolkitOptions(compute_capabilities=("8.9",), input_shapes=shapes, **keywords),
    )


def images():
    for batch in TRAINING.batches(50):
        yield batch.images


def quantized_accuracy(directory):
    """Of the ONNX in the saved model's one asset, on the held-out digits."""
    (path,) = (directory / "assets").glob("trt-serialized-engine.*")
    typed = AssetFile.open(path).load_onnx()
    assert typed.precision == "INT8"
    ops = [node.op_type for node in typed.model.proto.graph.node]
    assert ops.count("QuantizeLinear") >= 2
    session = to_session(typed.model, optimize=False)
    (logits,) = run_session(session, typed.model, [HELD_OUT.images])
    return float((logits.argmax(axis=1) == HELD_OUT.labels).mean())


def test_known_shapes_calibrate_and_build_in_convert(tmp_path):
    made = converter()
    made.convert(calibration_input_fn=images)
    report = made.report()
    assert len(report["segments"][0]["plans"]) == 1
    assert "serving_default was calibrated on 20 batches" in report["notes"]
    assert any("keep convolutions in FP16" in note for note in report["notes"])
    made.save(str(tmp_path / "int8"))
    assert quantized_accuracy(tmp_path / "int8") >= 0.9912 - 0.003


def test_unknown_shapes_calibrate_in_build(tmp_path):
    made = converter(known_shapes=False)
    made.convert(calibration_input_fn=images)
    with pytest.raises(RuntimeError, match="calibration is pending"):
        made.save(str(tmp_path / "early"))
    assert not (tmp_path / "early").exists()
    made.build(lambda: [HELD_OUT.images[:4], HELD_OUT.images[:1]])
    made.save(str(tmp_path / "int8"))
    assert quantized_accuracy(tmp_path / "int8") >= 0.9912 - 0.003
    assert len(made.report()["segments"][0]["plans"]) == 1


def test_an_unknown_calibrator_is_refused_before_the_work():
    with pytest.raises(ValueError, match="calibrator 'best'"):
        converter(calibrator="best").convert(calibration_input_fn=images)


def test_calibration_data_that_does_not_fit():
    with pytest.raises(InputError, match="batch 0 of calibration_input_fn"):
        converter().convert(calibration_input_fn=lambda: [np.zeros((2, 3), np.float32)])


def test_no_calibration_data():
    with pytest.raises(ValueError, match="yields nothing"):
        converter().convert(calibration_input_fn=lambda: [])


@pytest.mark.parametrize(
    "source",
    [
        lambda: [TRAINING.images[:8], TRAINING.images[8:9], TRAINING.images[9:30]],
        lambda: (batch for batch in ([TRAINING.images[:20]], (TRAINING.images[20:30],))),
        [{"image": TRAINING.images[:30]}],
        iter([TRAINING.images[:30]]),
        tf.data.Dataset.from_tensor_slices(TRAINING.images[:30]).batch(7),
        lambda: tf.data.Dataset.from_tensors({"image": TRAINING.images[:30]}),
    ],
    ids=["sizes", "generator", "dict", "one-shot", "dataset", "dataset of dicts"],
)
def test_data_in_every_form_gives_the_same_ranges(source):
    made = converter(known_shapes=False)
    made.convert(calibration_input_fn=source)
    made.build(lambda: [HELD_OUT.images[:4]])
    ranges = made.report()["segments"][0]["ranges"]
    assert (ranges["source"], ranges["samples"]) == ("data", 30)
    (engine,) = made._conversion.engines.engines
    scales = {
        tensor.name: tensor.SerializeToString()
        for tensor in engine.typed.model.proto.graph.initializer
        if tensor.name.endswith("/scale")
    }
    SEEN.append(scales)
    assert scales == SEEN[0]


SEEN = []  # the scales of the first form
