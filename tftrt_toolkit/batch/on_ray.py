"""Runs jobs on a Ray cluster, whose machines share the manifest's directories (the extra `ray`)."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Generator, Sequence
from typing import Any

from absl import logging

from tftrt_toolkit.batch.convert import begin_process, run_job
from tftrt_toolkit.batch.state import Record, StateDirectory
from tftrt_toolkit.batch.work import Work, begin, failed, in_order, outcome
from tftrt_toolkit.errors import MissingDependencyError, RuntimeLoadError, error_line

_REACH_S = 10.0


class RayRunner:
    """Runs each job as a task in a process of its own; Ray keeps to its machines' cores and memory.

    `peak_bytes` is 0: it isn't known.
    """

    peak_bytes = 0

    def __init__(self, state: StateDirectory, address: str, cores_per_model: int) -> None:
        """Raises MissingDependencyError without Ray, RuntimeLoadError where no cluster answers."""
        try:
            import ray
        except ImportError as error:
            raise MissingDependencyError(
                "running on a cluster needs Ray, which isn't installed: "
                "pip install 'tftrt_toolkit[ray]'"
            ) from error
        self._ray = ray
        self._state = state
        self._owned = not ray.is_initialized()
        if self._owned:
            try:
                _reach(address)
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            except (OSError, ValueError, ray.exceptions.RayError) as error:
                reason = error_line(error)
                raise RuntimeLoadError(
                    f"no Ray cluster answers at {address!r} ({reason}): start one with "
                    "`ray start --head`"
                ) from error
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        # More than the largest machine has would wait for ever.
        self._cores = min(cores_per_model, int(max(one.get("CPU", 1) for one in nodes)))
        self._most_memory = int(max(one.get("memory", 0) for one in nodes))

    def run(self, works: Sequence[Work]) -> Generator[Record, None, None]:
        """Yield each job's record as it ends. Jobs that run are stopped if this is closed."""
        pending: dict[Any, tuple[Work, float]] = {}
        try:
            for work in in_order(works):
                pending[self._submit(work)] = work, time.monotonic()
            while pending:
                for task in self._ray.wait(list(pending))[0]:
                    work, started = pending.pop(task)
                    record = self._outcome(task, work, time.monotonic() - started)
                    if record is None:
                        again = dataclasses.replace(work, alone=True)
                        pending[self._submit(again)] = again, time.monotonic()
                    else:
                        yield record
        finally:
            for task in pending:
                self._ray.cancel(task, force=True)
            if self._owned:
                self._ray.shutdown()

    def _submit(self, work: Work) -> Any:
        begin(work, self._state)
        # Whole processes: what TensorFlow took goes back with them.
        remote = self._ray.remote(
            num_cpus=self._cores,
            memory=min(work.memory_bytes, self._most_memory),
            max_calls=1,
            max_retries=0,
        )(_task)
        return remote.remote(work, self._state, self._cores)

    def _outcome(self, task: Any, work: Work, seconds: float) -> Record | None:
        """The task's record; None where it is worth another try: its machine or process went."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError:
            text = f"its process raised: see {self._state.log(work.job.name)}"
            record = failed(work, text, seconds, final=True)
        except errors.RayError as error:
            done = outcome(work, self._state)
            if done is not None:
                return done
            reason = error_line(error)
            if not work.alone:
                logging.warning("%s is tried again: %s", work.job.name, reason)
                return None
            record = failed(work, f"its process died twice: {reason}", seconds, final=False)
        self._state.save(record)
        return record


def _reach(address: str) -> None:
    """Raise OSError where nothing listens at HOST:PORT; Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), _REACH_S).close()


def _task(work: Work, state: StateDirectory, cores: int) -> Record:
    """What runs on the cluster: the job, its messages in its log."""
    import ray
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    begin_process(state.log(work.job.name))
    print(f"Ray node {ray.get_runtime_context().get_node_id()}", flush=True)
    return run_job(work.job, work.key, state)
