"""Runs a converted model's segments as their types say, on a machine without a GPU.

The typed ONNX of a segment is emulated (`precision.emulate`) in ONNX Runtime behind the segment's
own op, so that FP16 and INT8 damage shows in the model's outputs.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import TypedOnnx
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import SessionError, ToolkitError, ValidationError
from tftrt_toolkit.onnx_model import run_session, to_session
from tftrt_toolkit.precision import emulate
from tftrt_toolkit.runtime.bridge import CCall
from tftrt_toolkit.runtime.executor import CallInfo, DeclinedError, Prepared, install
from tftrt_toolkit.validation.segments import EMULATION, NATIVE, Engine, Execution


class EmulatedExecutor:
    """Runs one segment's typed ONNX, emulated, on the CPU."""

    name = EMULATION

    def __init__(self, load: Callable[[], TypedOnnx]) -> None:
        """`load` is called, and the session made, at the first call.

        failure: the first error, after which TensorFlow runs the segment.
        """
        self.failure: ToolkitError | None = None
        self._load = load
        self._lock = threading.Lock()
        self._session: Any = None

    def prepare(self, call: CallInfo) -> Prepared:
        """Make the session if there is none yet; declines calls on a GPU."""
        if call.device is not None:
            raise DeclinedError("emulation runs on the CPU only")
        with self._lock:
            if self._session is None:
                with self._failures():
                    self._model = emulate(self._load())
                    self._session = to_session(self._model, optimize=False)
        return Prepared(self._run, [None] * call.num_outputs)

    def _run(self, call: CCall) -> None:
        inputs = [call.inputs[index].to_numpy() for index in range(call.num_inputs)]
        with self._failures():
            outputs = run_session(self._session, self._model, inputs)
            if len(outputs) != call.num_outputs:
                raise SessionError(f"it makes {len(outputs)} outputs, the op {call.num_outputs}")
            for index, value in enumerate(outputs):
                self._write(call, index, np.asarray(value, order="C"))  # keeps scalars scalars

    def _write(self, call: CCall, index: int, value: np.ndarray) -> None:
        address = call.allocate_output(index, value.shape)
        if value.nbytes != call.outputs[index].bytes:
            raise SessionError(f"its output {index} is {value.dtype.name}, the op's isn't")
        if value.nbytes:
            ctypes.memmove(address, value.ctypes.data, value.nbytes)

    def close(self) -> None:
        """Free the session."""
        self._session = None

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except ToolkitError as error:
            self.failure = self.failure or error
            raise


@contextlib.contextmanager
def emulated(engines: Collection[Engine]) -> Iterator[Execution]:
    """How the engines of a loaded SavedModel run; while active, emulated where none runs here.

    None is emulated where TensorFlow sees a GPU.
    """
    executed = chosen_executors(engines)
    executors: dict[str, EmulatedExecutor] = {}

    def check() -> None:
        for name, executor in executors.items():
            if executor.failure is not None:
                raise ValidationError(f"{name} can't be emulated: {executor.failure}")

    with contextlib.ExitStack() as stack:
        for engine in () if tf.config.list_logical_devices("GPU") else engines:
            if executed[engine.name] != NATIVE or engine.asset is None:
                continue
            asset = AssetFile.open(engine.asset)
            if asset.manifest.onnx is not None:
                executors[engine.name] = EmulatedExecutor(asset.load_onnx)
                stack.callback(runtime.bind, engine.resource, asset)
                install(engine.resource, executors[engine.name], hold=True)
                executed[engine.name] = EMULATION
        yield Execution(executed, check)


def chosen_executors(engines: Collection[Engine]) -> dict[str, str]:
    """Engine -> the executor that was chosen for it when its model was loaded."""
    labels = {found.resource: found.executor for found in runtime.runtime_stats()}
    return {engine.name: labels.get(engine.resource, NATIVE) or NATIVE for engine in engines}
