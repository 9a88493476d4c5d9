"""The command as a process: what it writes, what it prints, how it exits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "saved_models" / "digits_cnn"
SHAPES = "--input_shapes=image:1x8x8x1:8x8x8x1:16x8x8x1"


def run(*flags):
    script = ROOT / "scripts" / "convert_saved_model.py"
    return subprocess.run(
        [sys.executable, str(script), *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def last_line(result):
    return result.stderr.strip().splitlines()[-1]


def test_a_good_run_saves_the_model_and_the_report(tmp_path):
    report_path = tmp_path / "report.json"
    result = run(
        f"--input_saved_model_dir={MODEL}",
        f"--output_saved_model_dir={tmp_path / 'out'}",
        "--precision_mode=FP16",
        SHAPES,
        "--compute_capabilities=8.9",
        f"--report_json={report_path}",
    )
    assert result.returncode == 0, result.stderr
    assert "Total number of TensorRT engines: 1" in result.stdout
    report = json.loads(report_path.read_text())
    assert report["segments"][0]["plans"][0]["targets"] == ["8.9"]
    assert report["converted_node_fraction"] == 1.0
    assert (tmp_path / "out" / "saved_model.pb").is_file()


def test_a_dry_run_writes_nothing(tmp_path):
    result = run(f"--input_saved_model_dir={MODEL}", "--dry_run")
    assert result.returncode == 0, result.stderr
    assert "% of OPs Converted: 100.00%" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([], 2, "input_saved_model_dir"),
        ([f"--input_saved_model_dir={MODEL}"], 2, "--output_saved_model_dir is missing"),
        ([f"--input_saved_model_dir={MODEL}", "--precission=FP16"], 2, "precission"),
        (["--input_saved_model_dir=nowhere", "--dry_run"], 1, "no SavedModel in 'nowhere'"),
        ([f"--input_saved_model_dir={MODEL}", "--dry_run", "--precision_mode=X"], 2, "'X'"),
        ([f"--input_saved_model_dir={MODEL}", "--dry_run", "more"], 2, "unexpected argument"),
    ],
)
def test_bad_input_is_one_line(flags, code, message):
    result = run(*flags)
    assert result.returncode == code
    assert last_line(result).startswith("error: ")
    assert message in last_line(result)
    assert "Traceback" not in result.stderr


def test_an_output_that_is_not_empty_is_refused_before_the_work(tmp_path):
    (tmp_path / "precious").write_text("data")
    result = run(f"--input_saved_model_dir={MODEL}", f"--output_saved_model_dir={tmp_path}")
    assert result.returncode == 1
    assert "overwrite" in last_line(result)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
