"""TensorRT-RTX's builder takes every typed model of the zoo, for SM 8.9 and 12.0.

Slow; what is found is recorded in benchmarks/results/typed_models.json.
"""

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks import measure
from tests.models import conversion, zoo
from tests.models.test_zoo import LARGE_MEMORY

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "typed_models.json"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(zoo.MODELS))
def test_every_precision_builds(name, tmp_path):
    saved, record, log = tmp_path / "saved", tmp_path / "record.json", tmp_path / "log"
    conversion.run_step("save", tmp_path / "save.log", name, saved)
    command = [sys.executable, "-m", "tests.models.typed", name, str(saved), str(record)]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(conversion.ROOT)}
    measured = measure.run(command, log, timeout=1800, env=env)
    assert measured.returncode == 0, log.read_text(errors="replace")[-3000:]
    found = json.loads(record.read_text())
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[name] = found | {"peak_rss_bytes": measured.peak_rss_bytes}
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    # A branch that no run took has shapes that nobody knows: its engine is built later.
    unbuilt = 1 if name == "cond" else 0
    for precision, one in found.items():
        assert one["refused"] == [], precision
        assert one["plans"], precision
        assert one["plans"].count(0) <= unbuilt, precision
    assert measured.peak_rss_bytes <= LARGE_MEMORY
