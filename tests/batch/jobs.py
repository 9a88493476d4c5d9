"""Jobs for the tests of batches, and tasks that stand in for a conversion in its own process."""

import os
import signal
import time
from pathlib import Path

from tftrt_toolkit.batch.job import Job
from tftrt_toolkit.batch.state import Record
from tftrt_toolkit.batch.work import Work
from tftrt_toolkit.params import ToolkitOptions, TrtConversionParams

MIB = 2**20


def job(folder, name, **fields):
    """A job whose output is folder/name; what a task below shall do is in the name."""
    return Job(
        name=name,
        saved_model=Path(folder) / "model",
        output=Path(folder) / name,
        params=TrtConversionParams(),
        options=ToolkitOptions(),
        **fields,
    )


def work(folder, name, memory_bytes=MIB, seconds=0.0, **fields):
    return Work(job(folder, name, **fields), "key", memory_bytes, seconds)


def record(name, status="converted", final=True, **fields):
    return Record(name=name, fingerprint="key", status=status, final=final, **fields)


def play(job, key, state):
    """Do what the job's name says, as `run_job` would do a conversion."""
    attempts = Path(job.output.with_suffix(".attempts"))
    with attempts.open("a") as file:
        file.write(f"{time.monotonic()} {sorted(os.sched_getaffinity(0))}\n")
    tries = len(attempts.read_text().splitlines())
    action = job.name.split("_")[0]
    if action == "crash" or (action == "crashonce" and tries == 1):
        os.kill(os.getpid(), signal.SIGSEGV)
    if action == "raise":
        raise LookupError("a fault of the task")
    if action == "grow":
        block = bytearray(os.urandom(MIB) * 900)
        time.sleep(1.0)
        del block
    if action == "sleep":
        try:
            time.sleep(60)
        finally:
            job.output.with_suffix(".cleared").touch()
    if action == "wait":
        time.sleep(0.4)
    with attempts.open("a") as file:
        file.write(f"{time.monotonic()} end\n")
    state.save(record(job.name))
    if action == "late":  # as libraries do while a process ends
        os.kill(os.getpid(), signal.SIGSEGV)
    return record(job.name)
