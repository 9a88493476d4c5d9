"""The command as a process, on a bundled model."""

import csv
import json
from pathlib import Path

import numpy as np

from tests.cli.forks import run_each
from tftrt_toolkit.examples.digits import load_held_out

MODEL = f"--saved_model_dir={Path(__file__).resolve().parents[2] / 'saved_models' / 'digits_cnn'}"


def test_digits_as_csv_and_as_json_and_bad_input(tmp_path):
    digits = load_held_out()
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "digits.npz", image=digits.images[:50], label=digits.labels[:50])
    table, rows, empty, suffix, nothing = run_each(
        "run_inference",
        tmp_path,
        [
            [MODEL, "--inputs=.", "--output=rows.csv", "--top=1"],
            [MODEL, "--inputs=digits.npz", "--top=0"],
            [MODEL, "--inputs=empty", "--output=bad.csv"],
            [MODEL, "--inputs=empty", "--output=bad.txt"],
            [MODEL],
        ],
    )
    assert (table.returncode, rows.returncode) == (0, 0), table.stderr + rows.stderr
    assert table.error == "saved 50 predictions to rows.csv"
    with (tmp_path / "rows.csv").open() as file:
        found = [int(row["logits.class_1"]) for row in csv.DictReader(file)]
    assert np.mean(found == digits.labels[:50]) > 0.95
    logits = [row["logits"] for row in json.loads(rows.stdout)]
    assert np.argmax(logits, axis=1).tolist() == found

    assert (empty.returncode, suffix.returncode, nothing.returncode) == (1, 2, 2)
    assert "holds no .npz or picture file" in empty.error
    assert "--output=bad.txt has no known suffix" in suffix.error
    assert "--inputs" in nothing.error
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "digits.npz", "rows.csv"}
