"""Runs jobs on this machine, each in a process of its own, within cores and memory.

The processes are forked from one that has imported TensorFlow and done nothing else: they start at
once and share its memory. A job that crashes, or outgrows the limit, takes no other with it.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess

from tftrt_toolkit.batch.convert import begin_process, run_job
from tftrt_toolkit.batch.job import Job
from tftrt_toolkit.batch.memory import proportional_bytes, total_bytes
from tftrt_toolkit.batch.state import Record, StateDirectory
from tftrt_toolkit.batch.work import Work, begin, died, failed, fits, in_order, outcome

Task = Callable[[Job, str, StateDirectory], Record]

_PERIOD_S = 0.02
_STOP_S = 10.0
# Kept for what grows between two looks at the memory, 20 ms apart.
_HEADROOM_SHARE, _HEADROOM_BYTES = 0.05, 128 * 2**20


@dataclasses.dataclass
class _Running:
    work: Work
    process: ForkServerProcess
    cores: frozenset[int]
    started: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class LocalRunner:
    """Runs jobs in parallel; `peak_bytes` is the most that all processes held at once, at most."""

    def __init__(
        self,
        state: StateDirectory,
        cores: int | None = None,
        cores_per_model: int = 1,
        memory_bytes: int | None = None,
        task: Task = run_job,
    ) -> None:
        """None: all cores that this process may use; no limit of memory. `task` does a job."""
        available = sorted(os.sched_getaffinity(0))[:cores]
        self._free = set(available)
        self._cores_per_model = min(cores_per_model, len(available))
        self._state = state
        self._task = task
        self._limit = memory_bytes
        self._running: list[_Running] = []
        self._base = 0
        self.peak_bytes = 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([run_job.__module__])

    def run(self, works: Sequence[Work]) -> Generator[Record, None, None]:
        """Yield each job's record as it ends. Jobs that run are stopped if this is closed."""
        waiting = in_order(works)
        try:
            while waiting or self._running:
                self._start(waiting)
                connection.wait([one.process.sentinel for one in self._running], _PERIOD_S)
                yield from self._collect(waiting)
                yield from self._enforce(waiting)
        finally:
            self._stop()

    def _start(self, waiting: list[Work]) -> None:
        """Start what fits, the first first."""
        for work in list(waiting):
            if len(self._free) < self._cores_per_model:
                return
            limit = None if self._limit is None else self._limit - self._base
            if fits(work, [one.work for one in self._running], limit):
                waiting.remove(work)
                self._launch(work)

    def _launch(self, work: Work) -> None:
        begin(work, self._state)
        cores = frozenset(sorted(self._free)[: self._cores_per_model])
        self._free -= cores
        process = self._context.Process(
            target=_child, args=(self._task, work, self._state, cores), name=work.job.name
        )
        process.start()
        self._running.append(_Running(work, process, cores, time.monotonic()))

    def _release(self, one: _Running) -> None:
        one.process.join()
        self._running.remove(one)
        self._free |= one.cores

    def _collect(self, waiting: list[Work]) -> Iterator[Record]:
        """Records of jobs that have ended; what is worth another try waits again."""
        for one in list(self._running):
            code, name = one.process.exitcode, one.work.job.name
            if code is None:
                continue
            self._release(one)
            record = outcome(one.work, self._state)
            if record is not None:  # a crash behind it, while the process ended, harms nothing
                yield record
                continue
            record = died(one.work, code, one.seconds, self._state.log(name))
            if record is None:
                waiting.append(dataclasses.replace(one.work, alone=True))
            else:
                yield self._kept(record)

    def _enforce(self, waiting: list[Work]) -> Iterator[Record]:
        """End jobs that outgrow the memory or their time."""
        for one in list(self._running):
            limit = one.work.job.timeout_seconds
            if limit is not None and one.seconds > limit:
                text = f"it took longer than {limit / 60:g} minutes: raise timeout_minutes"
                yield self._ended(one, text)
        if not self._running or self._total() <= self._threshold:
            return
        # Who exceeds its estimate most has upset the plan.
        worst = max(self._running, key=_excess)
        if len(self._running) > 1 and not worst.work.alone:
            worst.process.kill()
            self._release(worst)
            waiting.append(dataclasses.replace(worst.work, alone=True))
        else:
            assert self._limit is not None
            text = f"it needs more memory than {self._limit / 2**30:.3g} GiB: raise memory_gb"
            yield self._ended(worst, text)

    @property
    def _threshold(self) -> float:
        if self._limit is None:
            return float("inf")
        return self._limit - min(_HEADROOM_SHARE * self._limit, _HEADROOM_BYTES)

    def _total(self) -> int:
        """Bytes that all processes of the batch hold now."""
        pids = [one.process.pid or 0 for one in self._running]
        others = {os.getpid(), *filter(None, map(_parent, pids))}
        if not self._base:
            self._base = sum(map(proportional_bytes, others))
        total = total_bytes([*pids, *others], int(min(self._threshold, 2**62)))
        self.peak_bytes = max(self.peak_bytes, total)
        return total

    def _ended(self, one: _Running, error: str) -> Record:
        """End a job; its record has the error, unless it was done already."""
        one.process.kill()
        self._release(one)
        done = outcome(one.work, self._state)
        return done or self._kept(failed(one.work, error, one.seconds, final=False))

    def _kept(self, record: Record) -> Record:
        self._state.save(record)
        return record

    def _stop(self) -> None:
        """Interrupt what still runs, so that it clears up; kill what doesn't heed it."""
        for one in self._running:
            if one.process.pid and one.process.is_alive():
                os.kill(one.process.pid, signal.SIGINT)
        deadline = time.monotonic() + _STOP_S
        for one in list(self._running):
            one.process.join(max(0.0, deadline - time.monotonic()))
            if one.process.is_alive():
                one.process.kill()
            self._release(one)


def _excess(one: _Running) -> int:
    return proportional_bytes(one.process.pid or 0) - one.work.memory_bytes


def _parent(pid: int) -> int | None:
    """The process that a process was forked from; None once it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _child(task: Task, work: Work, state: StateDirectory, cores: frozenset[int]) -> None:
    """The job's process: on its own cores, its messages in its log, no longer than its parent."""
    os.setpgrp()  # a terminal's Ctrl-C reaches the parent alone, which interrupts its jobs once
    os.sched_setaffinity(0, cores)
    begin_process(state.log(work.job.name))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        task(work.job, work.key, state)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _end_with_parent() -> None:
    """A batch that is killed leaves no process behind that the next one would have to wait for."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)
