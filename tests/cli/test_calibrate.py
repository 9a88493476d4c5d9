"""The command as a process: files that a conversion takes, merged files, bad input."""

import numpy as np
import pytest

from tests.cli.processes import INTERRUPTED, interrupt, run_each, script, start, wait_for
from tests.validation import small_models
from tftrt_toolkit import ToolkitOptions, TrtGraphConverterV2
from tftrt_toolkit.cli.input_function import import_function, limited
from tftrt_toolkit.errors import CalibrationError, InvalidArgumentError
from tftrt_toolkit.model_calibration import merge_calibrations
from tftrt_toolkit.precision import load_calibrations

FUNCTION = """
import numpy as np

def batches():
    for index in range(9):
        yield np.full((2, 8, 8, 1), index, np.float32)

answer = 42
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model, its inputs as files and as a function, and calibration files; bad input too."""
    directory = tmp_path_factory.mktemp("calibrate")
    small_models.save(directory / "model")
    (directory / "data").mkdir()
    for index, images in enumerate(small_models.batches(3)):
        np.savez(directory / "data" / f"{index}.npz", images=images)
    (directory / "data_function.py").write_text(FUNCTION)
    model = "--input_saved_model_dir=model"
    first, both, missing, lonely = run_each(
        "calibrate",
        directory,
        [
            [model, "--inputs=data", "--max_batches=2", "--output=first.json"],
            [model, "--input_fn=data_function:batches", "--max_batches=3", "--merge=first.json",
             "--output=both.json"],
            [model, "--inputs=nowhere", "--output=bad.json"],
            [model, "--output=bad.json"],
        ],
    )  # fmt: skip
    assert first.returncode == 0, first.stderr
    assert "32 samples in 2 batches" in first.stdout
    assert both.returncode == 0, both.stderr
    assert both.last_line == "saved both.json"
    assert (missing.returncode, lonely.returncode) == (1, 2)
    assert "nowhere is no directory" in missing.last_line
    assert "--input_saved_model_dir goes with --inputs or --input_fn" in lonely.last_line
    assert not (directory / "bad.json").exists()
    return directory


def test_new_data_are_added_to_those_of_a_file(directory):
    (first,) = load_calibrations(directory / "first.json").values()
    (both,) = load_calibrations(directory / "both.json").values()
    assert (first.batches, both.batches) == (2, 5)
    assert both.samples == 32 + 6
    assert max(both.ranges().values()) > max(first.ranges().values())
    (twice,) = merge_calibrations([directory / "first.json"] * 2).values()
    assert twice.batches == 4


def test_a_conversion_takes_the_file(directory):
    options = ToolkitOptions(calibration_file=directory / "both.json")
    converter = TrtGraphConverterV2(
        str(directory / "model"), use_dynamic_shape=True, precision_mode="INT8", options=options
    )
    converter.convert()
    (segment,) = converter.report()["segments"]
    assert segment["ranges"] == {"source": "file", "batches": 5, "samples": 38}


def test_files_of_different_models_do_not_add_up(directory, tmp_path):
    text = (directory / "first.json").read_text()
    (name,) = load_calibrations(directory / "first.json")
    model = load_calibrations(directory / "first.json")[name].model
    (tmp_path / "other.json").write_text(text.replace(model, "0" * len(model)))
    with pytest.raises(CalibrationError, match=r"other\.json: .*different models"):
        merge_calibrations([directory / "first.json", tmp_path / "other.json"])


def test_interrupted_it_writes_nothing(directory, tmp_path):
    (tmp_path / "slow.py").write_text(
        FUNCTION.replace("    for", "    yield np.zeros((2, 8, 8, 1), np.float32)\n    for")
        .replace(
            "        yield", "        open('begun', 'w').close(); time.sleep(60)\n        yield"
        )
        .replace("import numpy", "import time, numpy")
    )
    model = f"--input_saved_model_dir={directory / 'model'}"
    flags = (model, "--input_fn=slow.py:batches", "--output=ranges.json")
    process = start(script("calibrate"), *flags, cwd=tmp_path)
    wait_for(process, (tmp_path / "begun").exists)
    done = interrupt(process)
    assert (done.returncode, done.last_line) == (130, INTERRUPTED)
    assert {path.name for path in tmp_path.iterdir()} <= {"slow.py", "begun", "__pycache__"}


def test_input_functions(directory, monkeypatch):
    monkeypatch.chdir(directory)
    for spec in ("data_function:batches", f"{directory}/data_function.py:batches"):
        assert len(list(limited(import_function(spec), 4)())) == 4
    assert len(list(limited(import_function(spec), None)())) == 9


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("batches", "not of the form"),
        ("nowhere.py:f", r"no file nowhere\.py"),
        ("no_such_module:f", "no module 'no_such_module'"),
        ("no_such.module:f", r"no module 'no_such\.module'"),
        ("data_function:missing", "no function 'missing'"),
        ("data_function:answer", "no function 'answer'"),
    ],
)
def test_bad_input_functions(directory, monkeypatch, spec, message):
    monkeypatch.chdir(directory)
    with pytest.raises(InvalidArgumentError, match=message):
        import_function(spec)
