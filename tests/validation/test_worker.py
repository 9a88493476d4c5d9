"""A model in a process of its own gives the same, and its end is told."""

import json
import os
import signal

import numpy as np
import pytest

from tests.validation import small_models
from tftrt_toolkit.errors import InvalidArgumentError, ModelError, ValidationError
from tftrt_toolkit.validation import ValidationOptions, to_text, validate
from tftrt_toolkit.validation.models import LocalModel
from tftrt_toolkit.validation.worker import WorkerModel


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return small_models.save(tmp_path_factory.mktemp("models") / "sound")


def test_isolated_models_with_latency_and_predictions(saved, tmp_path):
    options = ValidationOptions(isolate=True, benchmark_runs=5, predictions=tmp_path / "rows.json")
    report = validate(saved, saved, small_models.batches(2), options=options)
    assert report.passed
    assert [one.runs for one in report.latency] == [5, 5]
    assert all(0 < one.median_ms <= one.p90_ms <= one.p99_ms for one in report.latency)
    assert all(one.peak_rss_bytes > 100e6 for one in report.latency)
    assert "median ms" in to_text(report)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert len(rows) == 32
    assert rows[31]["batch"] == 1
    assert rows[31]["logits.original_class"] == rows[31]["logits.converted_class"]


def test_errors_and_the_end_of_the_process(saved):
    with WorkerModel(saved) as model:
        assert set(model.signatures["serving_default"].outputs) == {"logits", "mixed"}
        with pytest.raises(ValidationError, match="Input to reshape"):
            model.run("serving_default", {"images": np.zeros((1, 5, 5, 1), np.float32)})
        good = {"images": np.zeros((1, 8, 8, 1), np.float32)}
        assert model.run("serving_default", good)["logits"].shape == (1, 7)
        nudged = model.run_nudged("serving_default", good, 3)["logits"]
        expected = LocalModel(saved).run_nudged("serving_default", good, 3)["logits"]
        assert np.array_equal(nudged, expected)
        os.kill(model._process.pid, signal.SIGKILL)
        with pytest.raises(ValidationError, match="ended with -9"):
            model.run("serving_default", good)


def test_a_model_that_does_not_load(tmp_path):
    with pytest.raises(ModelError, match="can't be loaded"):
        WorkerModel(tmp_path)


def test_isolation_needs_directories():
    function = small_models.function()
    for options in (ValidationOptions(isolate=True), ValidationOptions(benchmark_runs=1)):
        with pytest.raises(InvalidArgumentError, match="directories"):
            validate(function, function, small_models.batches(1), options=options)
