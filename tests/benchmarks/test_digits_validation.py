"""The README's table is that of the recorded results, and all of them pass."""

import json
from pathlib import Path

from benchmarks import digits_validation, tables

README = Path(__file__).parents[2] / "README.md"
ROWS = json.loads(digits_validation.RESULTS.read_text())


def test_readme_shows_the_recorded_results():
    shown = tables.read_block(README.read_text(), digits_validation.BLOCK)
    assert shown == digits_validation.render(ROWS), (
        "the README is stale: python -m benchmarks.digits_validation --readme=README.md"
    )


def test_every_precision_of_both_models_passed():
    assert [(row["model"], row["precision"]) for row in ROWS] == [
        (model, precision)
        for model in ("digits_cnn", "digits_vit")
        for precision in ("FP32", "FP16", "INT8")
    ]
    assert all(row["passed"] for row in ROWS)
