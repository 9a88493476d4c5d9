"""The few functions of the CUDA driver that are needed, without CUDA's headers or libraries."""

from __future__ import annotations

import ctypes
import functools
from typing import Any


def copy_on_device(target: int, source: int, size: int, stream: int) -> None:
    """Enqueue a copy between two device addresses. Raises RuntimeError with CUDA's error."""
    _check(_driver().cuMemcpyDtoDAsync_v2(target, source, size, stream), "copying on the GPU")


def copy_to_host(target: int, source: int, size: int, stream: int) -> None:
    """Copy from the device and wait for the stream. Raises RuntimeError with CUDA's error."""
    if size:
        _check(_driver().cuMemcpyDtoHAsync_v2(target, source, size, stream), "copying from the GPU")
        _check(_driver().cuStreamSynchronize(stream), "waiting for the GPU")


def _check(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"{what} failed with CUDA error {status}")


@functools.cache
def _driver() -> Any:
    driver = ctypes.CDLL("libcuda.so.1")
    device, host = ctypes.c_uint64, ctypes.c_void_p
    for name, target in (("cuMemcpyDtoDAsync_v2", device), ("cuMemcpyDtoHAsync_v2", host)):
        function = getattr(driver, name)
        function.argtypes = (target, device, ctypes.c_size_t, ctypes.c_void_p)
    driver.cuStreamSynchronize.argtypes = (ctypes.c_void_p,)
    return driver
