"""The command: exit codes, reports, one-line errors."""

import json

import numpy as np
import pytest

from tests.cli.processes import run, run_each, script
from tests.validation import small_models
from tftrt_toolkit.cli.validate_saved_model import parse_tolerances
from tftrt_toolkit.errors import InvalidArgumentError

SCRIPT = script("validate_saved_model")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("validate")
    small_models.save(directory / "sound")
    values = small_models.weights()
    values["dense"] *= np.float32(1.01)
    small_models.save(directory / "faulty", values=values)
    (directory / "inputs").mkdir()
    for index, images in enumerate(small_models.batches(2)):
        np.savez(directory / "inputs" / f"{index}.npz", images=images)
    return directory


def models(directory, converted):
    return (
        f"--original_saved_model_dir={directory / 'sound'}",
        f"--converted_saved_model_dir={directory / converted}",
        f"--inputs={directory / 'inputs'}",
    )


def test_a_failing_model_exits_with_1_and_its_reports(directory, tmp_path):
    reports = [f"--report={tmp_path / name}" for name in ("a.html", "a.json", "a.txt")]
    rows = f"--predictions={tmp_path / 'rows.csv'}"
    done = run(SCRIPT, *models(directory, "faulty"), *reports, rows)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("FAIL")
    assert done.stdout == (tmp_path / "a.txt").read_text()
    assert json.loads((tmp_path / "a.json").read_text())["passed"] is False
    assert "FAIL" in (tmp_path / "a.html").read_text()
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 33


def test_a_passing_model_exits_with_0(directory):
    done = run(SCRIPT, *models(directory, "faulty"), "--tolerance=*:min_snr_db=30",
               "--tolerance=*:max_scaled=0.1")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("PASS")


def test_wrong_flags_and_missing_models_are_told_in_one_line(directory):
    missing, wrong = run_each(
        "validate_saved_model",
        directory,
        [models(directory, "nothing"), [*models(directory, "sound"), "--report=report.pdf"]],
    )
    assert (missing.returncode, wrong.returncode) == (1, 2)
    assert missing.last_line.startswith("error: ")
    assert ".html" in wrong.last_line


def test_parse_tolerances():
    found = parse_tolerances(["a:b:min_snr_db=40", "*:max_scaled=1e-3", "*:min_top1=0.9"])
    assert found == {"a:b": {"min_snr_db": 40}, "*": {"max_scaled": 1e-3, "min_top1": 0.9}}
    for entry in ("min_snr_db=40", "a:min_snr_db", "a:min_snr_db=x"):
        with pytest.raises(InvalidArgumentError, match="OUTPUT:LIMIT=VALUE"):
            parse_tolerances([entry])
