"""Jobs in processes of their own: limits, deaths, retries. The tasks convert nothing."""

import itertools
import os
import time
from pathlib import Path

import pytest

from tests.batch.jobs import play, work
from tftrt_toolkit.batch.local import LocalRunner
from tftrt_toolkit.batch.state import StateDirectory

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(tmp_path, monkeypatch):
    # The processes are forked from one that finds the package and the tests by this.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    state = StateDirectory(tmp_path)
    with state.only_run():
        yield state


def run(state, works, **limits):
    runner = LocalRunner(state, task=play, **limits)
    return {record.name: record for record in runner.run(works)}, runner


def times(tmp_path, name):
    lines = (tmp_path / f"{name}.attempts").read_text().splitlines()
    return [float(line.split()[0]) for line in lines]


def test_a_death_takes_no_other_job_with_it_and_only_signals_are_tried_again(state, tmp_path):
    names = ("crash_1", "crashonce_1", "raise_1", "wait_1", "late_1")
    records, _ = run(state, [work(tmp_path, name) for name in names])
    assert {name for name, record in records.items() if record.converted} == {
        "crashonce_1",
        "wait_1",
        "late_1",
    }
    assert "signal 11" in records["crash_1"].error
    assert not records["crash_1"].final
    assert "exit code 1" in records["raise_1"].error
    assert records["raise_1"].final
    assert "LookupError: a fault of the task" in state.log("raise_1").read_text()
    assert state.load("crash_1") == records["crash_1"]
    assert [len(times(tmp_path, name)) for name in names] == [2, 3, 1, 2, 2]


def test_no_more_cores_are_used_than_given(state, tmp_path):
    names = [f"wait_{index}" for index in range(3)]
    run(state, [work(tmp_path, name) for name in names], cores=1)
    spans = sorted(times(tmp_path, name) for name in names)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))
    (core,) = {(tmp_path / f"{n}.attempts").read_text().split("[")[1][0] for n in names}
    assert int(core) in os.sched_getaffinity(0)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_jobs_run_side_by_side_on_cores_of_their_own(state, tmp_path):
    names = [f"wait_{index}" for index in range(2)]
    run(state, [work(tmp_path, name) for name in names], cores=2)
    first, second = (times(tmp_path, name) for name in names)
    assert max(first[0], second[0]) < min(first[1], second[1])
    cores = {(tmp_path / f"{name}.attempts").read_text().split("[")[1][0] for name in names}
    assert len(cores) == 2


def test_expected_memory_keeps_jobs_apart(state, tmp_path):
    names = [f"wait_{index}" for index in range(2)]
    gib = 2**30
    works = [work(tmp_path, name, memory_bytes=40 * gib) for name in names]
    run(state, works, memory_bytes=60 * gib)
    first, second = sorted(times(tmp_path, name) for name in names)
    assert first[1] <= second[0]


def test_what_outgrows_the_limit_is_tried_alone_and_then_given_up(state, tmp_path):
    _, idle = run(state, [work(tmp_path, "wait_0")])
    room = idle.peak_bytes
    records, runner = run(
        state, [work(tmp_path, "grow_1"), work(tmp_path, "wait_1")], memory_bytes=room
    )
    assert "needs more memory than" in records["grow_1"].error
    assert not records["grow_1"].final
    assert records["wait_1"].converted
    assert runner.peak_bytes <= room


def test_a_job_that_takes_too_long_is_ended(state, tmp_path):
    records, _ = run(state, [work(tmp_path, "sleep_1", timeout_seconds=0.5)])
    assert "raise timeout_minutes" in records["sleep_1"].error
    assert not records["sleep_1"].final


def test_closing_interrupts_what_runs_so_that_it_clears_up(state, tmp_path):
    jobs = [work(tmp_path, "wait_1", seconds=2.0), work(tmp_path, "sleep_1")]
    found = LocalRunner(state, cores=1, task=play).run(jobs)
    assert next(found).name == "wait_1"
    found.close()
    assert not (tmp_path / "sleep_1.attempts").exists()

    found = LocalRunner(state, task=play).run([work(tmp_path, "sleep_2"), work(tmp_path, "wait_2")])
    assert next(found).name == "wait_2"
    deadline = time.monotonic() + 10
    while not (tmp_path / "sleep_2.attempts").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    found.close()
    assert (tmp_path / "sleep_2.cleared").exists()
    assert state.load("sleep_2").status == "started"
