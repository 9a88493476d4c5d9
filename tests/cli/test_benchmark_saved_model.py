"""The command as a process: figures of every model, TensorFlow Lite's too, and bad input."""

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.cli.processes import INTERRUPTED, interrupt, reading, run_each, script, start, wait_for
from tests.validation import small_models
from tftrt_toolkit import ToolkitOptions, TrtGraphConverterV2
from tftrt_toolkit.validation.worker import WorkerModel


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


def test_all_models_on_labelled_inputs_and_bad_flags(directory):
    original = "--original_saved_model_dir=model"
    done, alone, missing = run_each(
        "benchmark_saved_model",
        directory,
        [
            [original, "--converted_saved_model_dir=converted", "--against=tflite", "--inputs=data",
             "--batch_sizes=1,24", "--runs=5", "--report=report.json"],
            [original],
            [original, "--converted_saved_model_dir=nowhere"],
        ],
    )  # fmt: skip
    assert (alone.returncode, missing.returncode) == (2, 1)
    assert "nothing to compare with" in alone.last_line
    assert "no SavedModel in 'nowhere'" in missing.last_line
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


def workers(process):
    """How many models it runs in processes (what TensorFlow's import starts doesn't count)."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    commands = []
    for child in children:
        with contextlib.suppress(OSError):  # has ended since
            commands.append(Path(f"/proc/{child}/cmdline").read_text())
    return sum(WorkerModel.__module__ in command for command in commands)


def test_interrupted_it_leaves_nothing(directory, tmp_path, monkeypatch):
    """While its processes start, and while they wait for inputs."""
    temporary, data = tmp_path / "temporary", tmp_path / "data"
    temporary.mkdir()
    data.mkdir()
    os.mkfifo(data / "0.npz")
    monkeypatch.setenv("TMPDIR", str(temporary))
    flags = (f"--original_saved_model_dir={directory / 'model'}", "--against=tflite")
    flags += (f"--inputs={data}", f"--report={tmp_path / 'report.json'}")

    starting = start(script("benchmark_saved_model"), *flags)
    wait_for(starting, lambda: workers(starting) == 1)
    assert list(temporary.iterdir()) != []  # the TensorFlow Lite model
    ends = [interrupt(starting)]
    running = start(script("benchmark_saved_model"), *flags)
    with reading(running, data / "0.npz"):
        assert workers(running) == 2
        ends.append(interrupt(running))

    for done in ends:
        assert (done.returncode, done.stdout, done.last_line) == (130, "", INTERRUPTED)
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "report.json").exists()
