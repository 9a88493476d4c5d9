"""The command as a process, on a bundled model."""

import csv
import json
import os

import numpy as np

from tests.cli.processes import INTERRUPTED, ROOT, interrupt, reading, run_each, script, start
from tftrt_toolkit.examples.digits import load_held_out

MODEL = f"--saved_model_dir={ROOT / 'saved_models' / 'digits_cnn'}"


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
    assert table.last_line == "saved 50 predictions to rows.csv"
    with (tmp_path / "rows.csv").open() as file:
        found = [int(row["logits.class_1"]) for row in csv.DictReader(file)]
    assert np.mean(found == digits.labels[:50]) > 0.95
    logits = [row["logits"] for row in json.loads(rows.stdout)]
    assert np.argmax(logits, axis=1).tolist() == found

    assert (empty.returncode, suffix.returncode, nothing.returncode) == (1, 2, 2)
    assert "holds no .npz or picture file" in empty.last_line
    assert "--output=bad.txt has no known suffix" in suffix.last_line
    assert "--inputs" in nothing.last_line
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "digits.npz", "rows.csv"}


def test_interrupted_it_keeps_the_predictions_of_the_run_before(tmp_path):
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "0.npz", image=load_held_out().images[:2])
    os.mkfifo(tmp_path / "data" / "1.npz")
    (tmp_path / "rows.csv").write_text("before")
    flags = (MODEL, "--inputs=data", "--output=rows.csv")
    process = start(script("run_inference"), *flags, cwd=tmp_path)
    with reading(process, tmp_path / "data" / "1.npz"):
        done = interrupt(process)
    assert (done.returncode, done.stdout, done.last_line) == (130, "", INTERRUPTED)
    assert (tmp_path / "rows.csv").read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"data", "rows.csv"}
