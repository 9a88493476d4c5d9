"""Run a segment's ONNX as CUDA graphs: all of a call's kernels are launched at once.

A small batch keeps a GPU busy for less time than ONNX Runtime takes to launch its kernels one by
one. A set of shapes that comes often is captured into a graph of its own, from a session of its
own: what a graph reads must never be touched by another run, and with its shapes known ONNX Runtime
computes beforehand what it would compute on the host.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.runtime import cuda_driver
from tftrt_toolkit.runtime.bridge import CCall
from tftrt_toolkit.runtime.executor import CallInfo, describe
from tftrt_toolkit.runtime.loading import op_library
from tftrt_toolkit.runtime.onnxruntime_session import NOWHERE, Session

# Each holds the segment's weights once more.
MAX_GRAPHS = 8
# A call with shapes that came this often is captured, which takes about as long as a session does.
CALLS_BEFORE = 4
# Of the outputs' scale: kernels that add in no fixed order differ by less.
_TOLERANCE = 1e-2


class Graphs:
    """The graphs of one segment, at most MAX_GRAPHS."""

    def __init__(self, asset: AssetFile) -> None:
        """None yet."""
        self._asset = asset
        self._captured: weakref.WeakSet[_Captured] = weakref.WeakSet()
        self._lock = threading.Lock()

    def capture(self, call: CallInfo) -> _Captured | None:
        """A graph for the call's shapes. Logs why there is none."""
        with self._lock:
            try:
                if len(self._captured) >= MAX_GRAPHS:
                    raise RuntimeError(f"{MAX_GRAPHS} other sets of shapes have one")
                captured = _Captured(self._asset, call)
            except Exception as error:  # ONNX Runtime's exceptions share no base class
                logging.warning(
                    "%s runs without a CUDA graph for shapes %s: %s",
                    self._asset.segment, call.shapes(), " ".join(str(error).split()),
                )  # fmt: skip
                return None
            self._captured.add(captured)
        return captured


class CapturingRun:
    """Runs one set of shapes as `launched` does, and as a graph once it has come often."""

    def __init__(self, graphs: Graphs, launched: Callable[[CCall], None]) -> None:
        """Capture nothing yet."""
        self._graphs, self._launched = graphs, launched
        self._graph: _Captured | None = None
        self._calls = itertools.count(1)

    def __call__(self, call: CCall) -> None:
        """Enqueue a call, or capture it first, which waits for the device."""
        # One thread alone draws the number at which to capture; the others go on meanwhile.
        if self._graph is None and next(self._calls) == CALLS_BEFORE + 1:
            self._graph = self._graphs.capture(describe(call))
        graph = self._graph
        if graph is None:
            return self._launched(call)
        for index, shape in enumerate(graph.output_shapes):
            call.allocate_output(index, shape)
        graph.run(call)


@dataclasses.dataclass(frozen=True)
class _Buffer:
    """Where the graph reads an input or writes an output: the op's index, address and bytes."""

    index: int
    address: int
    size: int


class _Captured:
    """A session's run on one set of shapes, in TensorFlow's memory but for what lies between."""

    def __init__(self, asset: AssetFile, call: CallInfo) -> None:
        """Raises whatever stands in the way of a graph, with nothing left behind."""
        assert call.device is not None
        held = _Held(call.device)
        self._close = weakref.finalize(self, held.close)
        self._close.atexit = False  # the driver may be gone by then
        try:
            self.output_shapes = self._capture(asset, call, held)
        except Exception:
            self._close()
            raise
        self._graph = held.graph
        self._lock = threading.Lock()

    def _capture(self, asset: AssetFile, call: CallInfo, held: _Held) -> list[tuple[int, ...]]:
        held.stream = stream = cuda_driver.create_stream()
        held.session = session = Session(asset, call.device, stream, call.shapes())
        held.binding = binding = session.session.io_binding()
        self._inputs = []
        for index, name, element in session.inputs:
            given = call.inputs[index]
            buffer = _Buffer(index, held.allocate(given.nbytes), given.nbytes)
            cuda_driver.copy_on_device(buffer.address, given.address, buffer.size, call.stream)
            shape = given.shape
            binding.bind_input(name, *session.place, element, shape, buffer.address)
            self._inputs.append(buffer)
        for name, _ in session.outputs:
            binding.bind_output(name, *session.place)
        cuda_driver.synchronize(call.stream)  # the copies, and who had the buffers before
        session.run(binding)
        cuda_driver.synchronize(stream)
        values = binding.get_outputs()
        shapes = [tuple(value.shape()) for value in values]
        dtypes = [np.dtype(spec.dtype.as_numpy_dtype) for spec in asset.outputs]
        sizes = [
            int(np.prod(shape)) * dtype.itemsize
            for shape, dtype in zip(shapes, dtypes, strict=True)
        ]
        expected = [
            _on_host(value.data_ptr(), shape, dtype, stream)
            for value, shape, dtype in zip(values, shapes, dtypes, strict=True)
        ]
        del values
        self._outputs = [
            _Buffer(index, held.allocate(size), size) for index, size in enumerate(sizes)
        ]
        for (name, element), shape, buffer in zip(
            session.outputs, shapes, self._outputs, strict=True
        ):
            binding.bind_output(name, *session.place, element, shape, buffer.address)
        cuda_driver.synchronize(call.stream)
        session.run(binding)  # so that nothing is left to be allocated or to be tried out
        cuda_driver.synchronize(stream)
        held.graph = cuda_driver.Graph(lambda: session.run(binding), stream)
        for buffer in self._outputs:  # they hold what is expected already
            cuda_driver.fill(buffer.address, 0xFF, buffer.size, stream)
        held.graph.launch(stream)
        found = [
            _on_host(buffer.address, shape, dtype, stream)
            for buffer, shape, dtype in zip(self._outputs, shapes, dtypes, strict=True)
        ]
        _compare(found, expected)
        return shapes

    def run(self, call: CCall) -> None:
        """Copy the inputs in, launch, copy the outputs out: all on TensorFlow's stream."""
        stream, copy = call.stream, cuda_driver.copy_on_device
        assert self._graph is not None
        with self._lock:  # nobody's copies may come between
            for buffer in self._inputs:
                copy(buffer.address, call.inputs[buffer.index].data, buffer.size, stream)
            self._graph.launch(stream)
            for buffer in self._outputs:
                copy(call.outputs[buffer.index].data, buffer.address, buffer.size, stream)


class _Held:
    """What a graph keeps from being freed, and frees in the right order."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._context = cuda_driver.current_context()
        self._addresses: list[int] = []
        self.stream = 0
        self.session: Session | None = None
        self.binding: Any = None
        self.graph: cuda_driver.Graph | None = None

    def allocate(self, size: int) -> int:
        """Address of memory from TensorFlow's pool; a made-up one for no bytes."""
        if not size:
            return NOWHERE
        address = op_library().device_allocate(self._device, size)
        if not address:
            raise MemoryError(f"TensorFlow has no {size} bytes left on GPU {self._device}")
        self._addresses.append(address)
        return address

    def close(self) -> None:
        with cuda_driver.current(self._context):
            if self.graph is not None:
                self.graph.close()
            self.binding = self.session = None
            while self._addresses:
                op_library().device_free(self._device, self._addresses.pop())
            if self.stream:
                cuda_driver.destroy_stream(self.stream)


def _on_host(address: int, shape: tuple[int, ...], dtype: np.dtype, stream: int) -> np.ndarray:
    array = np.empty(shape, dtype)
    cuda_driver.copy_to_host(array.ctypes.data, address, array.nbytes, stream)
    return array


def _compare(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        if one.dtype.kind in "biu":
            same = np.array_equal(one, other)
        else:
            a, b = one.astype(np.float32), other.astype(np.float32)
            scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
            same = np.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True)
        if not same:
            raise RuntimeError("the graph doesn't give what the session gives")
