"""FP32's limits give way to what rounding alone does to a model, and to nothing else."""

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit.validation import DEFAULT_TOLERANCES, ValidationOptions, validate
from tftrt_toolkit.validation.models import LocalModel
from tftrt_toolkit.validation.rounding import loosened, rounding_errors

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (16, 8)).astype(np.float32)


class Offset(tf.Module):
    """x + offset - offset; `exact` leaves both out, so that nothing is rounded."""

    def __init__(self, exact=False, scale=1.0):
        super().__init__()
        self.up, self.down = tf.Variable(2000.0), tf.Variable(2000.0)
        self._exact, self._scale = exact, scale

    @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, "x")])
    def serve(self, x):
        y = x * self._scale
        return {"y": y if self._exact else (y + self.up) - self.down}


def save(directory, **kwargs):
    model = Offset(**kwargs)
    tf.saved_model.save(model, str(directory), signatures={"serving_default": model.serve})
    return directory


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return save(tmp_path_factory.mktemp("rounding") / "original")


def test_another_order_of_rounding_passes_where_rounding_is_amplified(original, tmp_path):
    report = validate(original, save(tmp_path / "exact", exact=True), [X])
    (output,) = report.signatures[0].outputs
    assert output.errors.snr_db < DEFAULT_TOLERANCES["FP32"].min_snr_db
    assert output.tolerance.min_snr_db < output.errors.snr_db
    assert report.passed
    assert any("rounding the original's weights" in text for text in report.signatures[0].warnings)


def test_a_fault_still_fails(original, tmp_path):
    assert not validate(original, save(tmp_path / "fault", scale=1.01), [X]).passed


@pytest.mark.parametrize("name", ["y", "*"])
def test_limits_that_were_set_stay(original, tmp_path, name):
    options = ValidationOptions(tolerances={name: {"min_snr_db": 94}})
    report = validate(original, save(tmp_path / "exact", exact=True), [X], options=options)
    assert report.signatures[0].outputs[0].tolerance.min_snr_db == 94
    assert not report.passed


def test_nudged_runs_differ_by_seed_and_leave_the_model_as_it_was(original):
    model = LocalModel(original)
    plain = model.run("serving_default", {"x": X})["y"]
    first, again, other = (
        model.run_nudged("serving_default", {"x": X}, seed)["y"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, plain)
    np.testing.assert_array_equal(model.run("serving_default", {"x": X})["y"], plain)


def test_a_live_model_s_weights_are_not_touched():
    live = Offset(exact=True)
    model = LocalModel(live.serve.get_concrete_function())
    assigned = []
    live.up.assign = assigned.append
    nudged = model.run_nudged("serving_default", {"x": X}, 0)["y"]
    assert assigned == []
    assert not np.array_equal(nudged, model.run("serving_default", {"x": X})["y"])


def test_limits_never_become_looser_than_those_of_fp16(original):
    rounding = rounding_errors(LocalModel(original), "serving_default", {"x": X}, 0)["y"]
    wider = loosened(DEFAULT_TOLERANCES["FP32"], rounding)
    assert wider.min_snr_db == pytest.approx(rounding.snr_db - 3)
    chaos = loosened(
        DEFAULT_TOLERANCES["FP32"],
        rounding_errors(LocalModel(original), "serving_default", {"x": X * 1e-4}, 0)["y"],
    )
    assert chaos.min_snr_db == DEFAULT_TOLERANCES["FP16"].min_snr_db
    assert chaos.max_scaled == DEFAULT_TOLERANCES["FP16"].max_scaled
