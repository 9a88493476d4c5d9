"""The command as a process: figures of every model, TensorFlow Lite's too, and bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.validation import small_models
from tftrt_toolkit import ToolkitOptions, TrtGraphConverterV2

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = [str(ROOT / "scripts" / "benchmark_saved_model.py")]
TFTRT = ["-m", "tftrt_toolkit.cli.main", "benchmark"]


def run(directory, *flags, program=SCRIPT):
    return subprocess.run(
        [sys.executable, *program, f"--original_saved_model_dir={directory / 'model'}", *flags],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
        timeout=300,
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model, its conversion to FP16, and labelled inputs."""
    directory = tmp_path_factory.mktemp("benchmark")
    small_models.save(directory / "model")
    (directory / "data").mkdir()
    for index, images in enumerate(small_models.batches(3)):
        labels = np.arange(len(images)) % small_models.CLASSES
        np.savez(directory / "data" / f"{index}.npz", images=images, label=labels)
    converter = TrtGraphConverterV2(
        str(directory / "model"),
        use_dynamic_shape=True,
        precision_mode="FP16",
        options=ToolkitOptions(),
    )
    converter.convert()
    converter.save(str(directory / "converted"))
    return directory


def test_all_models_on_labelled_inputs(directory):
    done = run(
        directory,
        f"--converted_saved_model_dir={directory / 'converted'}",
        "--against=tflite",
        f"--inputs={directory / 'data'}",
        "--batch_sizes=1,24",
        "--runs=5",
        f"--report={directory / 'report.json'}",
    )
    assert done.returncode == 0, done.stderr
    assert "no engine of the converted model fits this machine" in done.stdout
    found = json.loads((directory / "report.json").read_text())
    models = {one["role"]: one for one in found["models"]}
    assert list(models) == ["original", "converted", "tflite"]
    for one in models.values():
        assert [entry["batch"] for entry in one["latency"]] == [1, 24]
        for entry in one["latency"]:
            assert entry["runs"] == 5
            assert 0 < entry["median_ms"] <= entry["p90_ms"] <= entry["p99_ms"]
            assert entry["peak_rss_bytes"] > 10**8
        assert one["bytes"] > 0
    assert {entry["speed_up"] for entry in models["original"]["latency"]} == {1.0}
    assert models["converted"]["executed"] == {"native": 1}
    converted, tflite = models["converted"]["accuracy"], models["tflite"]["accuracy"]
    assert converted["inputs"] == tflite["inputs"] == 48
    assert converted["emulated"] == 1
    assert 45 < converted["snr_db"] < 80  # FP16
    assert float(tflite["snr_db"]) > 100  # the same in another kernel
    assert 0 <= tflite["accuracy"] == tflite["original_accuracy"]


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([], 2, "nothing to compare with"),
        (["--converted_saved_model_dir=nowhere"], 1, "nowhere"),
    ],
)
def test_bad_input_is_one_line(directory, flags, code, message):
    done = run(directory, *flags, program=TFTRT)
    assert (done.returncode, done.stdout) == (code, "")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr
