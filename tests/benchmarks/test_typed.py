"""The tables of what was typed: a row for each model."""

from benchmarks import typed_fallback, typed_models
from benchmarks.typed_fallback import Row


def found(plans, reached, missed, nodes_in_fp32=0):
    return {"plans": plans, "reached": reached, "missed": missed, "nodes_in_fp32": nodes_in_fp32}


def test_models():
    half = {"FP16": found([1], 0, 0, 3), "BF16": found([1], 0, 0)}
    results = {
        "net": half | {"INT8": found([1], 4, 1), "FP8": found([1], 5, 0)},
        "branches": half | {"INT8": found([1, 0], 0, 0), "FP8": found([1, 0], 0, 0)},
    }
    assert typed_models.render(results).splitlines()[2:] == [
        "| branches | but one | 3 | 0 of 0 | 0 of 0 |",
        "| net | all | 3 | 4 of 5 | 5 of 5 |",
    ]


def test_fallbacks():
    text = typed_fallback.render([Row("net", "INT8", 0.01, 0.011, 0.002)])
    assert text.splitlines()[2] == "| net | INT8 | 1.0e-02 | 1.1e-02 | 2.0e-03 |"
