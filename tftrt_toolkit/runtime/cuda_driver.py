"""The few functions of the CUDA driver that are needed, without CUDA's headers or libraries.

They want the device's context to be current, as it is in TensorFlow's kernels; see `current`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator
from ctypes import c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: no order with the legacy default stream
_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED: memory may be allocated meanwhile
_MEMCPY, _HOST = 1, 3  # of CUgraphNodeType
_ON_HOST, _ON_DEVICE, _UNIFIED = 1, 2, 4  # of CUmemorytype
_MEMORY_TYPE = 2  # CU_POINTER_ATTRIBUTE_MEMORY_TYPE


class _Side(ctypes.Structure):
    """One half of CUDA_MEMCPY3D."""

    _fields_ = (
        ("start", c_size_t * 4),
        ("memory", c_int),
        ("host", c_void_p),
        ("device", c_uint64),
        ("array", c_void_p),
        ("reserved", c_void_p),
        ("pitch", c_size_t * 2),
    )


class _Memcpy(ctypes.Structure):
    """CUDA_MEMCPY3D."""

    _fields_ = (("source", _Side), ("target", _Side), ("size", c_size_t * 3))


_SIGNATURES = {
    "cuMemcpyDtoDAsync_v2": (c_uint64, c_uint64, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemsetD8Async": (c_uint64, ctypes.c_ubyte, c_size_t, c_void_p),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamCreate": (c_void_p, c_uint),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, c_void_p),
    "cuGraphInstantiateWithFlags": (c_void_p, c_void_p, ctypes.c_ulonglong),
    "cuGraphGetNodes": (c_void_p, c_void_p, c_void_p),
    "cuGraphNodeGetType": (c_void_p, c_void_p),
    "cuGraphMemcpyNodeGetParams": (c_void_p, c_void_p),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphExecDestroy": (c_void_p,),
    "cuPointerGetAttribute": (c_void_p, c_int, c_uint64),
    "cuCtxGetCurrent": (c_void_p,),
    "cuCtxPushCurrent_v2": (c_void_p,),
    "cuCtxPopCurrent_v2": (c_void_p,),
}


def copy_on_device(target: int, source: int, size: int, stream: int) -> None:
    """Enqueue a copy between two device addresses. Raises RuntimeError with CUDA's error."""
    if size:
        _check(_driver().cuMemcpyDtoDAsync_v2(target, source, size, stream), "copying on the GPU")


def copy_to_host(target: int, source: int, size: int, stream: int) -> None:
    """Copy from the device and wait for the stream. Raises RuntimeError with CUDA's error."""
    if size:
        _check(_driver().cuMemcpyDtoHAsync_v2(target, source, size, stream), "copying from the GPU")
        synchronize(stream)


def copy_to_device(target: int, source: int, size: int, stream: int) -> None:
    """Copy to the device and wait for the stream. Raises RuntimeError with CUDA's error."""
    if size:
        _check(_driver().cuMemcpyHtoDAsync_v2(target, source, size, stream), "copying to the GPU")
        synchronize(stream)


def fill(target: int, byte: int, size: int, stream: int) -> None:
    """Enqueue setting each byte. Raises RuntimeError with CUDA's error."""
    if size:
        _check(_driver().cuMemsetD8Async(target, byte, size, stream), "filling memory on the GPU")


def synchronize(stream: int) -> None:
    """Wait for a stream. Raises RuntimeError with CUDA's error, which may be an earlier call's."""
    _check(_driver().cuStreamSynchronize(stream), "waiting for the GPU")


def create_stream() -> int:
    """A stream of one's own. Raises RuntimeError with CUDA's error."""
    stream = c_void_p()
    _check(_driver().cuStreamCreate(ctypes.byref(stream), _NON_BLOCKING), "making a CUDA stream")
    return stream.value or 0


def destroy_stream(stream: int) -> None:
    """Give a stream back; what it still does is finished."""
    _driver().cuStreamDestroy_v2(stream)


def current_context() -> int:
    """The calling thread's context. Raises RuntimeError with CUDA's error."""
    context = c_void_p()
    _check(_driver().cuCtxGetCurrent(ctypes.byref(context)), "finding the CUDA context")
    return context.value or 0


@contextlib.contextmanager
def current(context: int) -> Iterator[None]:
    """Inside, a context is the calling thread's."""
    previous = c_void_p()
    _check(_driver().cuCtxPushCurrent_v2(context), "changing to a CUDA context")
    try:
        yield
    finally:
        _driver().cuCtxPopCurrent_v2(ctypes.byref(previous))


class Graph:
    """What `record` enqueues on a stream of one's own, to be launched as one from now on.

    `record` runs once and nothing is done yet; the addresses that it uses must stay valid. Raises
    RuntimeError where CUDA can't capture it, or where it would read or write memory of the host,
    whose contents at a later launch nobody knows.
    """

    def __init__(self, record: Callable[[], None], stream: int) -> None:
        driver, graph, executable = _driver(), c_void_p(), c_void_p()
        _check(driver.cuStreamBeginCapture_v2(stream, _RELAXED), "capturing")
        try:
            try:
                record()
            finally:  # a stream that is left capturing takes no other work
                status = driver.cuStreamEndCapture(stream, ctypes.byref(graph))
            _check(status, "capturing")
            _check_nodes(graph)
            _check(
                driver.cuGraphInstantiateWithFlags(ctypes.byref(executable), graph, 0),
                "making a CUDA graph",
            )
        finally:
            if graph:
                driver.cuGraphDestroy(graph)
        self._executable = executable

    def launch(self, stream: int) -> None:
        """Enqueue it. Raises RuntimeError with CUDA's error."""
        _check(_driver().cuGraphLaunch(self._executable, stream), "launching a CUDA graph")

    def close(self) -> None:
        """Free it; launches in flight are finished."""
        _driver().cuGraphExecDestroy(self._executable)


def _check_nodes(graph: c_void_p) -> None:
    driver, count, kind = _driver(), c_size_t(), c_int()
    _check(driver.cuGraphGetNodes(graph, None, ctypes.byref(count)), "reading a CUDA graph")
    nodes = (c_void_p * count.value)()
    _check(driver.cuGraphGetNodes(graph, nodes, ctypes.byref(count)), "reading a CUDA graph")
    for node in nodes:
        _check(driver.cuGraphNodeGetType(node, ctypes.byref(kind)), "reading a CUDA graph")
        if kind.value == _HOST:
            raise RuntimeError("a part of it runs on the host")
        if kind.value == _MEMCPY:
            copy = _Memcpy()
            _check(
                driver.cuGraphMemcpyNodeGetParams(node, ctypes.byref(copy)), "reading a CUDA graph"
            )
            if not (_on_device(copy.source) and _on_device(copy.target)):
                raise RuntimeError("a part of it copies from or to the host")


def _on_device(side: _Side) -> bool:
    if side.memory != _UNIFIED:
        return side.memory != _ON_HOST
    kind = c_uint()
    status = _driver().cuPointerGetAttribute(ctypes.byref(kind), _MEMORY_TYPE, side.device)
    return status == 0 and kind.value == _ON_DEVICE  # an error: memory that CUDA doesn't know


def _check(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"{what} failed with CUDA error {status}")


@functools.cache
def _driver() -> Any:
    driver = ctypes.CDLL("libcuda.so.1")
    for name, arguments in _SIGNATURES.items():
        getattr(driver, name).argtypes = arguments
    return driver
