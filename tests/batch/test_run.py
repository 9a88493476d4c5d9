"""What is done again and what isn't; the jobs convert nothing."""

import dataclasses
import json

import pytest

from tests.batch.jobs import job, record
from tftrt_toolkit.batch import BatchReport, Limits, Manifest, run, run_batch, to_html, to_text
from tftrt_toolkit.batch.state import StateDirectory
from tftrt_toolkit.errors import InvalidArgumentError, OutputExistsError

FACTS = {
    "engines": 1, "plans": 1, "converted_nodes": 9, "total_nodes": 9, "bytes": 2048, "snr_db": "inf"
}  # fmt: skip


class FakeRunner:
    """Ends each job as `outcomes` says, and counts."""

    peak_bytes = 5

    def __init__(self, state, outcomes):
        self.state, self.outcomes, self.done = state, outcomes, []

    def run(self, works):
        for work in works:
            self.done.append(work.job.name)
            found = dataclasses.replace(
                self.outcomes.get(work.job.name, record(work.job.name, facts=FACTS)),
                fingerprint=work.key,
            )
            if found.converted:
                work.job.output.mkdir(exist_ok=True)
                (work.job.output / "saved_model.pb").touch()
            self.state.save(found)
            yield found


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """Run a batch of a, b and c; returns the report and the names of the jobs that were done."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").touch()

    def go(outcomes=None, jobs=None, **arguments):
        runner = FakeRunner(StateDirectory(tmp_path), outcomes or {})
        monkeypatch.setattr(run, "_runner", lambda *_: runner)
        jobs = jobs or [job(tmp_path, name) for name in "abc"]
        manifest = Manifest(tmp_path / "m.yaml", tmp_path, tuple(jobs))
        return run_batch(manifest, **arguments), runner.done

    return go


def failing(name, *, final):
    return record(name, "failed", final, error="it <can't> be done")


def test_finished_work_is_not_repeated(batch):
    report, done = batch({"b": failing("b", final=True), "c": failing("c", final=False)})
    assert done == ["a", "b", "c"]
    assert not report.passed
    report, done = batch({"b": record("b", facts=FACTS)})
    assert done == ["c"]
    assert [one.status for one in report.records] == ["converted", "failed", "converted"]
    assert report.reused == 2


def test_what_changed_or_is_gone_is_done_again(batch, tmp_path):
    batch()
    changed = job(tmp_path, "a")
    changed = dataclasses.replace(changed, params=changed.params._replace(precision_mode="FP16"))
    (tmp_path / "b" / "saved_model.pb").unlink()
    limited = job(tmp_path, "c", memory_bytes=1, timeout_seconds=1.0)
    assert batch(jobs=[changed, job(tmp_path, "b"), limited])[1] == ["a", "b"]
    (tmp_path / "model" / "saved_model.pb").write_text("another model")
    assert batch(jobs=[changed, job(tmp_path, "b")])[1] == ["a", "b"]


def test_a_record_that_was_only_started_or_is_damaged_counts_for_nothing(batch, tmp_path):
    batch()
    state = StateDirectory(tmp_path)
    state.save(dataclasses.replace(state.load("a"), status="started", final=False))
    (tmp_path / ".batch" / "b.json").write_text('{"name": "b", "fing')
    with pytest.raises(OutputExistsError):
        batch()  # whose b is, nobody can tell now
    assert batch(overwrite=True)[1] == ["a", "b"]


def test_outputs_of_others_are_refused_before_any_work(batch, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "precious").touch()
    with pytest.raises(OutputExistsError, match="isn't empty"):
        batch()
    assert StateDirectory(tmp_path).load("a") is None
    assert batch(overwrite=True)[1] == ["a", "b", "c"]


def test_two_runs_at_once_are_refused(batch, tmp_path):
    with StateDirectory(tmp_path).only_run(), pytest.raises(OutputExistsError, match="another"):
        batch()


def test_progress_counts_what_was_done_before(batch):
    batch({"c": failing("c", final=False)})
    seen = []
    batch(progress=lambda record, done, total: seen.append((record.name, done, total)))
    assert seen == [("c", 3, 3)]


def test_reports(batch):
    report, _ = batch({"b": failing("b", final=True)})
    text = to_text(report)
    assert text.startswith("2 of 3 models converted, 1 failed")
    assert "  fail: b: it <can't> be done" in text
    found = json.loads(BatchReport.to_json(report))
    assert [one["status"] for one in found["models"]] == ["converted", "failed", "converted"]
    assert found["models"][0]["facts"]["snr_db"] == "inf"
    assert found["peak_bytes"] == 5
    page = to_html(report)
    assert "it &lt;can&#39;t&gt; be done" in page
    assert page.count(">failed</span>") == 1


def test_limits_that_allow_nothing():
    with pytest.raises(InvalidArgumentError, match="memory_bytes=0 must be at least 1"):
        Limits(memory_bytes=0)
