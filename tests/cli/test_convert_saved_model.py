"""The command as a process: what it writes, what it prints, how it exits."""

import json

import numpy as np

from tests.cli.processes import ROOT, run, run_each, script
from tftrt_toolkit.examples.digits import load_split

SCRIPT = script("convert_saved_model")
MODEL = ROOT / "saved_models" / "digits_cnn"
IMAGE = "image"
SHAPES = "--input_shapes=image:1x8x8x1:8x8x8x1:16x8x8x1"


def test_a_good_run_saves_the_model_and_the_report(tmp_path):
    report_path = tmp_path / "report.json"
    result = run(
        SCRIPT,
        f"--input_saved_model_dir={MODEL}",
        f"--output_saved_model_dir={tmp_path / 'out'}",
        "--precision_mode=FP16",
        SHAPES,
        "--compute_capabilities=8.9",
        f"--report_json={report_path}",
    )
    assert result.returncode == 0, result.stderr
    assert "Engine generation" not in result.stderr  # the builder's messages come with --verbosity
    assert "Total number of TensorRT engines: 1" in result.stdout
    report = json.loads(report_path.read_text())
    assert report["segments"][0]["plans"][0]["targets"] == ["8.9"]
    assert report["converted_node_fraction"] == 1.0
    assert (tmp_path / "out" / "saved_model.pb").is_file()


def test_a_dry_run_writes_nothing(tmp_path):
    result = run(SCRIPT, f"--input_saved_model_dir={MODEL}", "--dry_run")
    assert result.returncode == 0, result.stderr
    assert "% of OPs Converted: 100.00%" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_one_line(tmp_path):
    model = f"--input_saved_model_dir={MODEL}"
    expected = [
        ([], 2, "input_saved_model_dir"),
        ([model], 2, "--output_saved_model_dir is missing"),
        ([model, "--precission=FP16"], 2, "precission"),
        (["--input_saved_model_dir=nowhere", "--dry_run"], 1, "no SavedModel in 'nowhere'"),
        ([model, "--dry_run", "--precision_mode=X"], 2, "'X'"),
        ([model, "--dry_run", "more"], 2, "unexpected argument"),
        ([model, "--dry_run", "--image_range=1"], 2, "two numbers"),
        ([model, "--dry_run", "--report_json=file/report.json"], 1, "/file': check the path"),
    ]
    (tmp_path / "file").touch()
    results = run_each("convert_saved_model", tmp_path, [flags for flags, _, _ in expected])
    for done, (flags, code, message) in zip(results, expected, strict=True):
        assert done.returncode == code, flags
        assert done.last_line.startswith("error: "), flags
        assert message in done.last_line


def test_an_output_that_is_not_empty_is_refused_before_the_work(tmp_path):
    (tmp_path / "precious").write_text("data")
    result = run(SCRIPT, f"--input_saved_model_dir={MODEL}", f"--output_saved_model_dir={tmp_path}")
    assert result.returncode == 1
    assert "overwrite" in result.last_line
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_int8_from_files_within_a_budget_and_again_from_what_it_wrote(tmp_path):
    training, held_out = load_split()
    for name, split in (("calibration", training), ("labelled", held_out)):
        (tmp_path / name).mkdir()
        for index, batch in enumerate(list(split.batches(50))[:4]):
            np.savez(
                tmp_path / name / f"{index}.npz", **{IMAGE: batch.images, "label": batch.labels}
            )
    ranges, kept, report = (tmp_path / name for name in ("ranges.json", "kept", "report.json"))
    common = [f"--input_saved_model_dir={MODEL}", "--precision_mode=INT8"]
    common += ["--compute_capabilities=8.9", f"--report_json={report}", "--report_kernels"]
    result = run(
        SCRIPT,
        *common,
        f"--output_saved_model_dir={tmp_path / 'first'}",
        f"--calibration_data={tmp_path / 'calibration'}",
        f"--labelled_data={tmp_path / 'labelled'}",
        "--max_error=0.01",
        f"--save_calibration_file={ranges}",
        f"--save_precision_file={kept}",
    )
    assert result.returncode == 0, result.stderr
    first = json.loads(report.read_text())
    assert first["budgets"][0]["error"] <= 0.01
    assert len(first["segments"][0]["plans"]) == 1  # the data told the shapes
    result = run(
        SCRIPT,
        *common,
        f"--output_saved_model_dir={tmp_path / 'second'}",
        f"--calibration_file={ranges}",
        f"--precision_file={kept}",
        SHAPES,
    )
    assert result.returncode == 0, result.stderr
    second = json.loads(report.read_text())
    assert second["segments"][0]["ranges"]["source"] == "file"
    kernels = [one["segments"][0]["kernels"] for one in (first, second)]
    assert kernels[0]["reached"] == kernels[1]["reached"]
