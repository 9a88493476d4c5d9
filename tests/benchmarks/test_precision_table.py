"""The benchmark's own doings: the variants are the same function, the tables are complete."""

import numpy as np
import pytest

from benchmarks.precision_table import MODELS, ROOT, SCALE, Row, data_sets, render, scaled
from benchmarks.whole_model import whole_model
from tftrt_toolkit.examples import digits
from tftrt_toolkit.precision import Calibrator
from tftrt_toolkit.precision.compare import relative_error, run


@pytest.mark.parametrize("name", MODELS)
def test_the_scaled_variant_is_the_same_function(name):
    model = whole_model(ROOT / "saved_models" / name)
    variant = scaled(model)
    images = digits.load_held_out().images[:16]
    (before,), (after,) = run(model, [(images,)]), run(variant, [(images,)])
    assert relative_error(before, after) < 1e-5
    peaks = []
    for one in (model, variant):
        calibrator = Calibrator(one)
        calibrator.add((images,))
        peaks.append(max(calibrator.result().ranges().values()))
    assert peaks[1] > SCALE * 0.1 > peaks[0]


def test_the_wild_image_comes_first_once():
    images = np.ones((10, 2, 2, 1), np.float32) * np.arange(1, 11)[:, None, None, None]
    sets = data_sets(images)
    for data in list(sets.values())[1:]:
        assert (data[:, 0, 0, 0] > 100).sum() == 1
    last = sets["the same, wild first"]
    assert last[0, 0, 0, 0] == 30 * 6
    assert sorted(last[:, 0, 0, 0]) == sorted(sets["one image x 30"][:, 0, 0, 0])


def test_a_table_has_a_line_for_each_method():
    rows = [
        Row(model, "int8", "clean", method, 99.0, snr)
        for model in ("a", "b")
        for method, snr in (("max", 40.0), ("auto (mse)", None))
    ]
    assert render(rows, "int8").splitlines()[2:] == [
        "| clean | max | 99.00 % | 40.0 dB | 99.00 % | 40.0 dB |",
        "| clean | auto | 99.00 % (mse) | - | 99.00 % (mse) | - |",
    ]
