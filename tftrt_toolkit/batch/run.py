"""A whole batch: what is done already, what is left, and the report over both."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Protocol

from tftrt_toolkit.assemble import check_output
from tftrt_toolkit.batch.job import fingerprint
from tftrt_toolkit.batch.local import LocalRunner
from tftrt_toolkit.batch.manifest import Manifest
from tftrt_toolkit.batch.report import BatchReport
from tftrt_toolkit.batch.state import Record, StateDirectory
from tftrt_toolkit.batch.work import Work, expected_bytes, expected_seconds
from tftrt_toolkit.errors import InvalidArgumentError


class Runner(Protocol):
    """What does the work."""

    peak_bytes: int

    def run(self, works: Sequence[Work]) -> Generator[Record, None, None]:
        """Yield each job's record as it ends; closing it stops what still runs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What a batch may use of this machine; None: what the manifest says, else no limit.

    cores: of all models together. cores_per_model: of each; more models run at once if it is small.
    memory_bytes: of all processes together.
    """

    cores: int | None = None
    cores_per_model: int | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could run."""
        for name, value in dataclasses.asdict(self).items():
            if value is not None and value < 1:
                raise InvalidArgumentError(f"{name}={value} must be at least 1")


def run_batch(
    manifest: Manifest,
    limits: Limits | None = None,
    *,
    overwrite: bool = False,
    ray_address: str | None = None,
    progress: Callable[[Record, int, int], None] = lambda record, done, total: None,
) -> BatchReport:
    """Convert what the manifest names and isn't done yet; a failure stops no other model.

    Args:
      manifest: see `load_manifest`.
      limits: they go before the manifest's own. A Ray cluster's are its own; of these it takes
        cores_per_model.
      overwrite: replace outputs that are there and aren't of an earlier run of this batch.
      ray_address: run on this Ray cluster instead of this machine ("auto": the one at hand).
      progress: called with each record, how many are done, and how many there are.

    Raises:
      OutputExistsError: an output is there already, or another run is at work on this batch.
      MissingDependencyError: a cluster is asked for and Ray isn't installed.
    """
    start = time.monotonic()
    limits = limits or Limits()
    state = StateDirectory(manifest.output_dir)
    with state.only_run():
        records, works = _plan(manifest, state, overwrite)
        reused = len(records)
        runner = _runner(manifest, limits, state, ray_address)
        # Closed at once when interrupted, so that no process outlives this call.
        with contextlib.closing(runner.run(works)) as found:
            for record in found:
                records[record.name] = record
                progress(record, len(records), len(manifest.jobs))
    return BatchReport(
        manifest=str(manifest.path),
        jobs=manifest.jobs,
        records=tuple(records[job.name] for job in manifest.jobs),
        reused=reused,
        seconds=round(time.monotonic() - start, 3),
        peak_bytes=runner.peak_bytes,
    )


def _plan(
    manifest: Manifest, state: StateDirectory, overwrite: bool
) -> tuple[dict[str, Record], list[Work]]:
    """Records that stand, and the work that is left."""
    done: dict[str, Record] = {}
    works = []
    for job in manifest.jobs:
        key, earlier = fingerprint(job), state.load(job.name)
        if earlier is None:
            check_output(job.output, overwrite)
        elif earlier.final and earlier.fingerprint == key and _still_there(earlier, job.output):
            done[job.name] = earlier
            continue
        memory, seconds = expected_bytes(job, earlier), expected_seconds(job, earlier)
        works.append(Work(job, key, memory, seconds))
    return done, works


def _still_there(record: Record, output: Path) -> bool:
    return not record.converted or (output / "saved_model.pb").is_file()


def _runner(
    manifest: Manifest, limits: Limits, state: StateDirectory, ray_address: str | None
) -> Runner:
    cores_per_model = limits.cores_per_model or manifest.cores_per_model or 1
    if ray_address is not None:
        from tftrt_toolkit.batch.on_ray import RayRunner

        return RayRunner(state, ray_address, cores_per_model)
    return LocalRunner(
        state,
        cores=limits.cores or manifest.cores,
        cores_per_model=cores_per_model,
        memory_bytes=limits.memory_bytes or manifest.memory_bytes,
    )
