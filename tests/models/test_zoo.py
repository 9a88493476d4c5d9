"""Whole models convert as far as they should, and give what they gave before.

The small ones run always; the rest are marked slow, and record what they find in
benchmarks/results/models.json.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.models import conversion, zoo

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "models.json"
MAX_NATIVE_ERROR = 1e-5
LARGE_MEMORY = 12e9
QUICK = sorted(name for name, model in zoo.MODELS.items() if model.quick)
SLOW = sorted(zoo.MODELS.keys() - set(QUICK))
PRECISIONS = ("FP32", "FP16")


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory):
    """Writes each model once; removes the last one, as the largest takes 2.5 GB."""
    work = tmp_path_factory.mktemp("zoo")
    written = {}

    def get(name):
        if name not in written:
            for old in written.values():
                shutil.rmtree(old)
            written.clear()
            conversion.run_step("save", work / f"{name}.log", name, work / name)
            written[name] = work / name
        return written[name]

    return get


def record(name, precision, found):
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results.setdefault(name, {})[precision] = found
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def check_bars(name, found, errors):
    model = zoo.MODELS[name]
    assert found["engines"] >= 1
    # A branch that no run took has shapes that nobody knows: its engine is built later.
    unbuilt = 1 if name == "cond" else 0
    assert found["plans"].count(0) <= unbuilt, "engines were built for the segments"
    if model.max_engines is not None:
        assert found["engines"] <= model.max_engines, found["refused"]
    if model.min_fraction is not None:
        assert found["converted_node_fraction"] >= model.min_fraction, found["refused"]
    assert max(errors.values()) <= MAX_NATIVE_ERROR, errors
    if name == "lstm":
        assert any("body" in graph for graph in found["graphs"]), found["graphs"]
    if name == "cond":
        assert len(found["graphs"]) == 3, "the main graph and both branches"


@pytest.mark.parametrize("name", QUICK)
def test_small_model(name, tmp_path):
    zoo.MODELS[name].save(tmp_path / "saved")
    found = conversion.convert(name, "FP32", tmp_path / "saved", tmp_path / "converted")
    check_bars(name, found, conversion.compare(name, tmp_path / "saved", tmp_path / "converted"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_model(name, precision, saved_models, tmp_path):
    saved, converted = saved_models(name), tmp_path / "converted"
    found, cost = conversion.run_step(
        "convert", tmp_path / "convert.log", name, precision, saved, converted
    )
    errors, _ = conversion.run_step("compare", tmp_path / "compare.log", name, saved, converted)
    shutil.rmtree(converted)
    record(
        name,
        precision,
        {
            **found,
            "native_error": max(errors.values()),
            "process_seconds": round(cost.seconds, 1),
            "peak_rss_bytes": cost.peak_rss_bytes,
        },
    )
    check_bars(name, found, errors)
    if name == "large":
        assert cost.peak_rss_bytes <= LARGE_MEMORY


@pytest.mark.parametrize("name", QUICK)
def test_inputs_are_seeded_and_of_the_sizes_asked_for(name):
    model = zoo.MODELS[name]
    for size in conversion.SIZES:
        first, again = model.inputs(3, size), model.inputs(3, size)
        for key, values in first.items():
            assert values.shape == getattr(model.shapes[key], size)
            assert (values == again[key]).all()
