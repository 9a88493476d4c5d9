"""The command as a process: reports, exit codes, kills, Ctrl-C, and going on where it was."""

import json
import random
import time

import numpy as np
import pytest

from tests.cli import processes
from tests.cli.processes import INTERRUPTED, TFTRT, finish, interrupt, script, wait_for
from tests.validation import small_models

SCRIPT = script("batch_convert")


def start(directory, *flags, program=SCRIPT):
    return processes.start(program, f"--manifest={directory / 'batch.yaml'}", *flags)


PRECISIONS = ("int8", "fp16")
CALIBRATED = """
  - name: quantized
    saved_model: model_0
    precision: [INT8, FP16]
    calibration: {inputs: data, file: ranges.json}
"""


def write_manifest(directory, models, output="out", more=""):
    """Several names for a few small models, and one that isn't there."""
    entries = [f"  - {{name: net_{index}, saved_model: model_{index % 2}}}" for index in models]
    (directory / "batch.yaml").write_text(
        f"""
output_dir: {output}
cores: 2
memory_gb: 6
defaults:
  precision: FP16
  compute_capabilities: [8.9]
  input_shapes: {{images: 1x8x8x1:4x8x8x1:16x8x8x1}}
  validation: {{max_batches: 2}}
models:
  - {{name: broken, saved_model: nowhere}}
"""
        + "\n".join(entries)
        + more
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("batch")
    for seed in range(2):
        small_models.save(directory / f"model_{seed}", values=small_models.weights(seed))
    (directory / "data").mkdir()
    for index, images in enumerate(small_models.batches(2)):
        np.savez(directory / "data" / f"{index}.npz", images=images)
    return directory


def results(report):
    """What must not depend on how often the batch was interrupted."""
    found = {}
    for one in json.loads(report.read_text())["models"]:
        one["facts"].pop("bytes", None)  # the models carry their conversion's times
        found[one["name"]] = tuple(one[key] for key in ("status", "final", "error", "facts"))
    return found


def records(directory, output="out"):
    """Name -> status of every model that has a record."""
    found = {}
    for path in (directory / output / ".batch").glob("[a-z]*.json"):
        found[path.stem] = json.loads(path.read_text())["status"]
    return found


def work_has_begun(directory, output):
    """A condition: some job's own process has begun since now."""
    now = time.time_ns()
    folder = directory / output / ".batch"
    return lambda: any(path.stat().st_mtime_ns > now for path in folder.glob("*.log"))


def leftovers(directory, output):
    return [path.name for path in (directory / output).glob(".*.saving-*")]


def test_one_of_five_is_broken(directory):
    write_manifest(directory, range(2), more=CALIBRATED)
    reports = [f"--report={directory / name}" for name in ("one.json", "r.html", "r.txt")]
    done = finish(start(directory, *reports))
    assert done.returncode == 1
    assert done.stdout.startswith("4 of 5 models converted, 1 failed")
    assert done.stdout == (directory / "r.txt").read_text()
    assert done.last_line.startswith("[5/5] ")
    assert "1 failed" in (directory / "r.html").read_text()
    found = results(directory / "one.json")
    assert found["broken"][:2] == ("failed", True)
    assert "no SavedModel in" in found["broken"][2]
    logs = [(directory / "out" / ".batch" / f"quantized_{p}.log").read_text() for p in PRECISIONS]
    # Whoever came first calibrated, and the other took its file.
    assert sorted("\ncalibration: " in log for log in logs) == [False, True]
    assert (directory / "ranges.json").is_file()
    for name in ("net_0", "net_1"):
        status, _, _, facts = found[name]
        assert status == "converted"
        assert facts["engines"] == facts["plans"] == 1
        assert facts["snr_db"] > 45
        assert (directory / "out" / name / "saved_model.pb").is_file()
        assert "engine" in (directory / "out" / ".batch" / f"{name}.log").read_text()


def test_killed_and_interrupted_it_goes_on_where_it_was(directory):
    """Ends like the run of the test before, which nobody interrupted."""
    write_manifest(directory, range(2), "again")
    process = start(directory, "--cores=1")
    wait_for(process, lambda: "converted" in records(directory, "again").values())
    process.kill()
    assert finish(process).returncode == -9
    done = {name for name, status in records(directory, "again").items() if status != "started"}
    times = {path: path.stat().st_mtime_ns for path in (directory / "again").glob("*/*.pb")}

    begun = work_has_begun(directory, "again")
    process = start(directory, "--cores=1", program=(*TFTRT, "batch"))
    wait_for(process, begun)
    interrupted = interrupt(process)
    assert (interrupted.returncode, interrupted.last_line) == (130, INTERRUPTED)
    assert leftovers(directory, "again") == []

    again = finish(start(directory, f"--report={directory / 'two.json'}"))
    assert again.returncode == 1
    assert f"{len(done)} were done before" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in times} == times
    expected = results(directory / "one.json")
    assert results(directory / "two.json") == {k: expected[k] for k in ("broken", "net_0", "net_1")}


def test_a_bad_manifest_is_one_line(directory):
    (directory / "batch.yaml").write_text("output_dir: bad\nmodels: [{saved_modell: x}]\n")
    done = finish(start(directory))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.last_line.startswith(f"error: {directory / 'batch.yaml'}: models[0]: ")
    assert not (directory / "bad").exists()


@pytest.mark.slow
def test_killed_at_ten_random_points_it_ends_the_same(directory):
    rng = random.Random(0)
    write_manifest(directory, range(9), "whole")
    finish(start(directory, f"--report={directory / 'whole.json'}"))

    write_manifest(directory, range(9), "killed")
    done: dict[str, int] = {}
    for kill in range(10):
        begun = work_has_begun(directory, "killed")
        process = start(directory, "--cores=1")
        if kill % 4:  # else while it imports or plans
            wait_for(process, begun)
        time.sleep(rng.uniform(0, 1.0))
        assert process.poll() is None, "no work was left to kill: make the delays shorter"
        process.kill()
        finish(process)
        models = (directory / "killed").glob("*/saved_model.pb")
        times = {path.parent.name: path.stat().st_mtime_ns for path in models}
        assert done.items() <= times.items(), "finished work was done again"
        finished = {n for n, status in records(directory, "killed").items() if status != "started"}
        done = {name: time for name, time in times.items() if name in finished}
    last = finish(start(directory, f"--report={directory / 'killed.json'}"))
    assert (last.returncode, "Traceback" in last.stderr) == (1, False)
    assert len(results(directory / "killed.json")) == 10
    assert results(directory / "killed.json") == results(directory / "whole.json")
    assert leftovers(directory, "killed") == []
