"""What is left to do, how much memory it may take, and what to do with a job that died."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tftrt_toolkit.batch.job import Job
from tftrt_toolkit.batch.state import Record, StateDirectory
from tftrt_toolkit.saved_model import size_on_disk

# Peaks of the model zoo's conversions: TensorFlow and the toolkit take 0.9 GB, and each byte of a
# model up to 8.
_BASE_BYTES = 1_000_000_000
_BYTES_A_BYTE = 8
_MARGIN = 1.1
# Their times grow with the graph: about a second for each 100 kB of it.
_SECONDS_A_BYTE = 1e-5


@dataclasses.dataclass(frozen=True)
class Work:
    """A job that is to be done.

    key: its fingerprint. memory_bytes, seconds: what it is expected to need. alone: nothing else
    may run beside it, because it died, or grew too large, in company.
    """

    job: Job
    key: str
    memory_bytes: int
    seconds: float = 0.0
    alone: bool = False


def expected_bytes(job: Job, earlier: Record | None) -> int:
    """The manifest's word, else what an earlier run took, else an estimate from the files."""
    if job.memory_bytes is not None:
        return job.memory_bytes
    if earlier is not None and earlier.converted:
        return int(_MARGIN * earlier.peak_rss_bytes)
    return _BASE_BYTES + _BYTES_A_BYTE * size_on_disk(job.saved_model)


def expected_seconds(job: Job, earlier: Record | None) -> float:
    """What an earlier run took, else an estimate from the graph's size; its order counts."""
    if earlier is not None and earlier.converted:
        return earlier.seconds
    return _SECONDS_A_BYTE * size_on_disk(job.saved_model / "saved_model.pb")


def in_order(works: Sequence[Work]) -> list[Work]:
    """The longest first: a long job that starts last is one that all cores wait for."""
    return sorted(works, key=lambda work: work.seconds, reverse=True)


def fits(work: Work, running: Sequence[Work], memory_limit: int | None) -> bool:
    """Whether a job may start beside those that run. One that is alone may always."""
    if not running:
        return True
    if work.alone or any(other.alone for other in running):
        return False
    expected = work.memory_bytes + sum(other.memory_bytes for other in running)
    return memory_limit is None or expected <= memory_limit


def begin(work: Work, state: StateDirectory) -> None:
    """Note that a job starts: from now on its output is this batch's, which may replace it."""
    name = work.job.name
    state.save(Record(name=name, fingerprint=work.key, status="started", final=False))


def outcome(work: Work, state: StateDirectory) -> Record | None:
    """The record that a job has written since `begin`, however its process ended then."""
    record = state.load(work.job.name)
    return None if record is None or record.status == "started" else record


def died(work: Work, exitcode: int, seconds: float, log: Path) -> Record | None:
    """The record of a job whose process ended without one; None: it is worth another try, alone.

    A signal may come from outside, as when the system ran out of memory. A traceback would come
    again.
    """
    if exitcode < 0 and not work.alone:
        return None
    how = f"signal {-exitcode}" if exitcode < 0 else f"exit code {exitcode}"
    return failed(work, f"its process ended with {how}: see {log}", seconds, final=exitcode > 0)


def failed(work: Work, error: str, seconds: float, *, final: bool) -> Record:
    """The record of a job that couldn't write its own."""
    return Record(
        name=work.job.name,
        fingerprint=work.key,
        status="failed",
        final=final,
        error=error,
        seconds=round(seconds, 3),
    )
