"""The accuracy budget through the public converter: over the whole model's outputs, or a metric."""

from pathlib import Path

import numpy as np
import pytest

from tests.test_typed_segments import HELD_OUT, IMAGES, MODELS, converter, entry
from tftrt_toolkit import LabelledMetric, ToolkitOptions
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError
from tftrt_toolkit.precision import load_overrides


def accuracy(labels, outputs):
    return outputs.argmax(axis=1) == labels


def labelled():
    return [(batch.images, batch.labels) for batch in HELD_OUT.batches(200)]


def test_the_budget_is_met_and_written_down(tmp_path):
    made = converter(MODELS / "digits_vit", max_error=0.006)
    made.convert(calibration_input_fn=IMAGES)
    (budget,) = made.report()["budgets"]
    assert budget["error"] <= 0.006 < budget["first_error"]
    assert 0 < len(budget["kept"]) < 24
    path = tmp_path / "precision"
    made.save_precision_file(path)
    assert [one.node for one in load_overrides(path)] == [one["node"] for one in budget["kept"]]
    again = converter(MODELS / "digits_vit", precision_file=path)
    again.convert(calibration_input_fn=IMAGES)
    assert [one["node"] for one in entry(again)["islands"]] == [
        one["node"] for one in entry(made)["islands"]
    ]


def test_a_budget_that_is_met_already_keeps_nothing():
    made = converter(precision="FP16", max_error=0.01)
    made.convert(calibration_input_fn=IMAGES)
    (budget,) = made.report()["budgets"]
    assert budget["kept"] == []
    assert 1e-5 < budget["first_error"] == budget["error"] < 0.01


def test_the_loss_of_a_metric():
    metric = LabelledMetric(function=accuracy, data=labelled)
    made = converter(max_error=0.001, metric=metric)
    made.convert(calibration_input_fn=IMAGES)
    (budget,) = made.report()["budgets"]
    assert budget["first_error"] == pytest.approx(1 / len(HELD_OUT.labels), rel=1e-3)
    assert budget["error"] <= 0.001
    assert budget["kept"]
    assert made.report()["params"]["metric"] == "accuracy"


def test_what_cannot_be_met_is_one_line():
    with pytest.raises(ConversionError, match="no choice of nodes meets max_error=1e-06"):
        converter(max_error=1e-6).convert(calibration_input_fn=IMAGES)


def test_what_was_calibrated_in_build_meets_the_budget_too():
    made = converter(max_error=0.006, unknown_shapes=True)
    made.convert(calibration_input_fn=IMAGES)
    assert made.report()["budgets"] == []
    made.build(lambda: [IMAGES[0][:4], IMAGES[0][:1]])
    (budget,) = made.report()["budgets"]
    assert budget["error"] <= 0.006


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no batch"),
        ([IMAGES[0]], "isn't a pair"),
        (Path("nowhere"), "no directory"),
    ],
)
def test_labelled_data_that_does_not_fit(data, message):
    metric = LabelledMetric(function=accuracy, data=data)
    with pytest.raises(ValueError, match=message):
        converter(max_error=0.1, metric=metric).convert(calibration_input_fn=IMAGES)


def test_labels_and_outputs_are_looked_for(tmp_path):
    np.savez(tmp_path / "images.npz", image=IMAGES[0])
    metric = LabelledMetric(function=accuracy, data=tmp_path)
    with pytest.raises(InvalidArgumentError, match="have no labels"):
        converter(max_error=0.1, metric=metric).convert(calibration_input_fn=IMAGES)
    metric = LabelledMetric(function=accuracy, data=labelled, output="scores")
    with pytest.raises(InvalidArgumentError, match="'scores' is none of the signature's"):
        converter(max_error=0.1, metric=metric).convert(calibration_input_fn=IMAGES)


@pytest.mark.parametrize(
    "options",
    [{"max_error": 0.0}, {"metric": LabelledMetric(function=accuracy, data=labelled)}],
)
def test_bad_options(options):
    with pytest.raises(InvalidArgumentError, match="max_error"):
        ToolkitOptions(**options)
