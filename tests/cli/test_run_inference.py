"""The command as a process, on a bundled model."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tftrt_toolkit.examples.digits import load_held_out

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = [str(ROOT / "scripts" / "run_inference.py")]
TFTRT = ["-m", "tftrt_toolkit.cli.main", "run"]


def run(*flags, program=SCRIPT):
    return subprocess.run(
        [sys.executable, *program, f"--saved_model_dir={ROOT}/saved_models/digits_cnn", *flags],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
        timeout=300,
    )


def test_digits_as_csv_and_as_json(tmp_path):
    digits = load_held_out()
    np.savez(tmp_path / "digits.npz", image=digits.images[:50], label=digits.labels[:50])
    done = run(f"--inputs={tmp_path}", f"--output={tmp_path / 'rows.csv'}", "--top=1")
    assert done.returncode == 0, done.stderr
    assert "saved 50 predictions" in done.stderr
    with (tmp_path / "rows.csv").open() as file:
        found = [int(row["logits.class_1"]) for row in csv.DictReader(file)]
    assert np.mean(found == digits.labels[:50]) > 0.95

    done = run(f"--inputs={tmp_path / 'digits.npz'}", "--top=0", program=TFTRT)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert np.argmax([row["logits"] for row in rows], axis=1).tolist() == found


def test_bad_input_is_one_line_and_writes_nothing(tmp_path):
    for flags, code, message in (
        ([f"--inputs={tmp_path}"], 1, "holds no .npz or picture file"),
        ([f"--inputs={tmp_path}", "--output=rows.txt"], 2, "--output=rows.txt has no known suffix"),
    ):
        done = run(*flags)
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr.strip().splitlines()[-1]
        assert "Traceback" not in done.stderr
