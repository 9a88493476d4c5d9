"""Rows an input, as JSON or CSV."""

import csv
import json

import numpy as np
import pytest

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.validation.predictions import PredictionWriter
from tftrt_toolkit.validation.sources import Batch

ORIGINAL = {"logits": np.float32([[1, 2], [5, 3]]), "names": np.array([b"a", b"b"], object)}
CONVERTED = {"logits": np.float32([[1, 2], [3, np.nan]]), "names": np.array([b"a", b"c"], object)}
BATCH = Batch({"x": np.zeros((2, 1), np.float32)}, np.array([1, 0]))


def write(path):
    with PredictionWriter(path, ["serve"]) as writer:
        writer.write("serve", 0, 0, BATCH, ORIGINAL, ORIGINAL)
        writer.write("serve", 1, 2, BATCH, ORIGINAL, CONVERTED)


def test_json(tmp_path):
    write(tmp_path / "rows.json")
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["input"] for row in rows] == [0, 1, 2, 3]
    assert [row["label"] for row in rows] == [1, 0, 1, 0]
    assert rows[0]["logits.max_error"] == 0
    assert rows[3] == {
        "input": 3,
        "signature": "serve",
        "batch": 1,
        "label": 0,
        "logits.max_error": "nan",
        "logits.original_class": 0,
        "logits.converted_class": -1,
        "logits.original_score": 5.0,
        "logits.converted_score": "nan",
        "names.unequal": 1,
    }


def test_csv(tmp_path):
    write(tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert rows[3]["names.unequal"] == "1"


def test_nothing_written_is_still_json(tmp_path):
    with PredictionWriter(tmp_path / "rows.json", ["serve", "other"]):
        pass
    assert json.loads((tmp_path / "rows.json").read_text()) == []


def test_an_interrupted_run_leaves_no_file(tmp_path):
    def interrupted():
        with PredictionWriter(tmp_path / "rows.json", ["serve"]) as writer:
            writer.write("serve", 0, 0, BATCH, ORIGINAL, ORIGINAL)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"\*.json or \*.csv"):
        PredictionWriter(tmp_path / "rows.xml", ["serve"])


def test_several_signatures_do_not_fit_one_csv(tmp_path):
    with pytest.raises(InvalidArgumentError, match="signature_keys"):
        PredictionWriter(tmp_path / "rows.csv", ["serve", "other"])


def test_all_rows_have_the_same_columns(tmp_path):
    """Though the second batch's outputs don't look like probabilities."""
    first, second = {"y": np.float32([[0.5, 0.5]])}, {"y": np.float32([[7, -1]])}
    batch = Batch({"x": np.zeros((1, 1), np.float32)})
    with PredictionWriter(tmp_path / "rows.csv", ["serve"]) as writer:
        writer.write("serve", 0, 0, batch, first, first)
        writer.write("serve", 1, 1, batch, second, second)
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["y.original_class"] for row in rows] == ["0", "0"]
    assert [row["batch"] for row in rows] == ["0", "1"]
