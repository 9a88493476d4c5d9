"""A model in a process of its own: its memory, its executors and its crashes stay there.

`WorkerModel` starts a process that runs `main`; messages go through its stdin and stdout.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.errors import ModelError, ToolkitError, ValidationError
from tftrt_toolkit.validation.execution import running
from tftrt_toolkit.validation.models import Arrays, Runnable, Signature
from tftrt_toolkit.validation.tflite import open_model
from tftrt_toolkit.validation.wire import read_message, write_message

_STOP_SECONDS = 30


class WorkerModel:
    """Runs a SavedModel in another process. Close it, or use it as a context manager."""

    def __init__(
        self, directory: str | Path, tags: tuple[str, ...] = ("serve",), *, emulate: bool = False
    ) -> None:
        """Start the process and load the model there. Raises ModelError if it doesn't load."""
        self.name = str(directory)
        self.seconds = 0.0
        self.memory: Mapping[str, Any] = {}
        code = f"import sys; from {__name__} import main; main(*sys.argv[1:])"
        command = [sys.executable, "-c", code, self.name, ",".join(tags), str(int(emulate))]
        package = str(Path(__file__).parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            process_group=0,  # a terminal's Ctrl-C reaches this process alone, which ends the other
        )
        with contextlib.ExitStack() as stack:
            stack.callback(self._kill)
            try:
                header, _ = self._answer()
            except ValidationError as error:
                raise ModelError(str(error)) from error
            self.executed: dict[str, str] = header["executed"]
            self.signatures = {
                key: Signature(_specs(found["inputs"]), _specs(found["outputs"]))
                for key, found in header["signatures"].items()
            }
            stack.pop_all()

    def run(self, key: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Outputs by name; `seconds` and `memory` then tell of this call."""
        return self._request({"key": key}, inputs)

    def run_nudged(self, key: str, inputs: Mapping[str, np.ndarray], seed: int) -> Arrays:
        """As `LocalModel.run_nudged`."""
        return self._request({"key": key, "nudged": seed}, inputs)

    def _request(self, request: Mapping[str, Any], inputs: Mapping[str, np.ndarray]) -> Arrays:
        pipe = self._process.stdin
        assert pipe is not None
        try:
            write_message(pipe, request, inputs)
        except BrokenPipeError as error:
            raise self._gone() from error
        header, outputs = self._answer()
        self.seconds, self.memory = header["seconds"], header["memory"]
        return outputs

    def _answer(self) -> tuple[dict[str, Any], Arrays]:
        pipe = self._process.stdout
        assert pipe is not None
        try:
            header, arrays = read_message(pipe)
        except EOFError as error:
            raise self._gone() from error
        if "error" in header:
            raise ValidationError(header["error"])
        return header, arrays

    def _gone(self) -> ValidationError:
        code = self._process.wait()
        return ValidationError(
            f"the process that ran {self.name} ended with {code}: see its messages above"
        )

    def close(self) -> None:
        """End the process, which ends by itself once its pipes are closed."""
        self._close_pipes()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._kill()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close_pipes()

    def __enter__(self) -> WorkerModel:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close it; after an exception at once, as it may be in the middle of a call."""
        if kind is None:
            self.close()
        else:
            self._kill()


def _specs(described: Mapping[str, Any]) -> dict[str, tf.TensorSpec]:
    return {
        name: tf.TensorSpec(shape, tf.as_dtype(dtype), name)
        for name, (shape, dtype) in described.items()
    }


def _described(specs: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    return {
        name: (None if spec.shape.rank is None else spec.shape.as_list(), spec.dtype.name)
        for name, spec in specs.items()
    }


def memory_use() -> dict[str, int | None]:
    """Peak resident bytes of this process, and peak bytes on its first GPU, if it has one."""
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    device = None
    if tf.config.list_logical_devices("GPU"):
        device = int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return {"peak_rss_bytes": int(peak.split()[1]) * 1024, "device_bytes": device}


def serve(model: Runnable, executed: Mapping[str, str], source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer requests until the other side closes its pipe."""
    signatures = {
        key: {"inputs": _described(found.inputs), "outputs": _described(found.outputs)}
        for key, found in model.signatures.items()
    }
    write_message(sink, {"signatures": signatures, "executed": dict(executed)}, {})
    while True:
        try:
            header, inputs = read_message(source)
        except EOFError:
            return
        start = time.perf_counter()
        try:
            if "nudged" in header:
                outputs = model.run_nudged(header["key"], inputs, header["nudged"])
            else:
                outputs = model.run(header["key"], inputs)
        except ValidationError as error:
            write_message(sink, {"error": str(error)}, {})
            continue
        seconds = time.perf_counter() - start
        write_message(sink, {"seconds": seconds, "memory": memory_use()}, outputs)


def main(directory: str, tags: str, emulate: str) -> None:
    """Load and serve; what TensorFlow prints goes to stderr, stdout is the pipe."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = sys.stdin.buffer
    try:
        model = open_model(directory, tuple(tags.split(",")))
    except ToolkitError as error:
        write_message(sink, {"error": str(error)}, {})
        return
    if model.directory is None:
        serve(model, {}, source, sink)
        return
    with running(Path(directory), model.tags, emulate=emulate == "1") as execution:
        model.check = execution.check
        serve(model, execution.executed, source, sink)
