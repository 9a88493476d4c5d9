"""The C side of the op library: its structs and functions, as in `ops/executor.h`."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from ctypes import c_char_p, c_double, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.errors import InternalError, RuntimeLoadError

ABI = 1
MAX_RANK = 16
OK, DECLINED, FAILED = 0, 1, 2
NATIVE, XLA, EXECUTOR = 0, 1, 2


class CTensor(ctypes.Structure):
    """TftrtTensor."""

    _fields_ = (
        ("data", c_void_p),
        ("dims", ctypes.POINTER(c_int64)),
        ("bytes", c_int64),
        ("rank", c_int32),
        ("dtype", c_int32),
    )

    @property
    def shape(self) -> tuple[int, ...]:
        """The dims."""
        return tuple(self.dims[: self.rank])

    def to_numpy(self) -> np.ndarray:
        """A copy of a tensor in host memory."""
        dtype = tf.dtypes.as_dtype(self.dtype).as_numpy_dtype
        if not self.bytes:
            return np.empty(self.shape, dtype)
        buffer = (ctypes.c_char * self.bytes).from_address(self.data)
        return np.frombuffer(buffer, dtype).reshape(self.shape).copy()


Allocate = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_int32, c_int32, ctypes.POINTER(c_int64))


class CCall(ctypes.Structure):
    """TftrtCall."""

    _fields_ = (
        ("inputs", ctypes.POINTER(CTensor)),
        ("outputs", ctypes.POINTER(CTensor)),
        ("num_inputs", c_int32),
        ("num_outputs", c_int32),
        ("device", c_int32),
        ("allow_build", c_int32),
        ("stream", c_void_p),
        ("scratch", c_void_p),
        ("scratch_bytes", c_int64),
        ("message", c_void_p),
        ("message_bytes", c_int32),
        ("allocate", Allocate),
        ("context", c_void_p),
    )

    def allocate_output(self, index: int, shape: tuple[int, ...]) -> int:
        """Address of memory for an output whose shape wasn't known before; 0 if it is empty."""
        if not 0 <= index < self.num_outputs:
            raise InternalError(f"the op has {self.num_outputs} outputs, none of index {index}")
        dims = (c_int64 * len(shape))(*shape)
        address = self.allocate(ctypes.addressof(self), index, len(shape), dims)
        if self.outputs[index].bytes < 0:
            raise MemoryError(f"no memory for an output of shape {shape}")
        return address or 0

    def refuse(self, reason: str) -> None:
        """Leave the reason where the kernel reads it."""
        write_text(self.message, self.message_bytes, reason)


class CPlan(ctypes.Structure):
    """TftrtPlan."""

    _fields_ = (
        ("mode", c_int32),
        ("ranks", ctypes.POINTER(c_int32)),
        ("dims", ctypes.POINTER(c_int64)),
        ("scratch_bytes", c_int64),
        ("token", c_int64),
    )


Prepare = ctypes.CFUNCTYPE(c_int32, c_int64, ctypes.POINTER(CCall), ctypes.POINTER(CPlan))
Enqueue = ctypes.CFUNCTYPE(c_int32, c_int64, c_void_p)
Forget = ctypes.CFUNCTYPE(None, c_int64)


class CExecutor(ctypes.Structure):
    """TftrtExecutor."""

    _fields_ = (
        ("id", c_int64),
        ("prepare", Prepare),
        ("enqueue", Enqueue),
        ("forget", Forget),
        ("trim", Forget),
        ("release", Forget),
    )


Initialize = ctypes.CFUNCTYPE(c_int32, c_char_p, c_char_p, c_int64, c_void_p, c_int32)
Serialize = ctypes.CFUNCTYPE(c_int32, c_char_p, c_char_p, c_void_p, c_int32)
FellBack = ctypes.CFUNCTYPE(None, c_char_p, c_char_p, c_int32, c_char_p)
Observed = ctypes.CFUNCTYPE(None, c_char_p, ctypes.POINTER(CCall))


class CCallbacks(ctypes.Structure):
    """TftrtCallbacks."""

    _fields_ = (
        ("initialize", Initialize),
        ("serialize", Serialize),
        ("fell_back", FellBack),
        ("observed", Observed),
    )


class CStats(ctypes.Structure):
    """TftrtStats."""

    _fields_ = (
        ("resource", c_char_p),
        ("executor", c_char_p),
        ("reason", c_char_p),
        ("calls", c_int64),
        ("nanoseconds", c_int64),
        ("native_calls", c_int64),
        ("native_nanoseconds", c_int64),
        ("declined", c_int64),
        ("failed", c_int64),
        ("observed", c_int64),
    )


_Visit = ctypes.CFUNCTYPE(None, ctypes.POINTER(CStats), c_void_p)

_SIGNATURES = {
    "tftrt_abi": (c_int32, ()),
    "tftrt_set_callbacks": (None, (ctypes.POINTER(CCallbacks),)),
    "tftrt_set_strict": (None, (c_int32,)),
    "tftrt_bind": (None, (c_char_p, c_char_p, c_int32, ctypes.POINTER(CExecutor), c_int32)),
    "tftrt_unbind": (None, (c_char_p,)),
    "tftrt_set_reason": (None, (c_char_p, c_char_p)),
    "tftrt_observe": (None, (c_char_p, c_int32)),
    "tftrt_visit_stats": (None, (_Visit, c_void_p)),
    "tftrt_time": (None, (c_char_p, c_int32)),
    "tftrt_take_times": (c_int64, (c_char_p, ctypes.POINTER(c_double), c_int64)),
    "tftrt_close": (c_int32, (c_double,)),
    "tftrt_device_allocate": (c_void_p, (c_int32, c_int64)),
    "tftrt_device_free": (None, (c_int32, c_void_p)),
    "tftrt_device_foreign_streams": (None, (c_int32, c_int32)),
}


def write_text(address: int, size: int, text: str) -> None:
    """Put a NUL-terminated UTF-8 text, cut to fit, at an address of `size` bytes."""
    whole = text.encode()[: size - 1].decode(errors="ignore").encode()
    ctypes.memmove(address, whole + b"\0", len(whole) + 1)


class OpLibrary:
    """The loaded library. Its functions release the interpreter's lock while they run.

    wrappers: the module of Python functions that TensorFlow generated for the ops.
    """

    def __init__(self, path: Path) -> None:
        """Register the ops with TensorFlow and bind the C functions."""
        try:
            self.wrappers = tf.load_op_library(str(path))
            self._functions = ctypes.CDLL(str(path))
        except (tf.errors.OpError, OSError, RuntimeError) as error:
            raise RuntimeLoadError(
                f"the op library {path} doesn't load ({error}): remove it to have it compiled anew"
            ) from error
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._functions, name)
            function.restype, function.argtypes = result, arguments
        abi = self._functions.tftrt_abi()
        if abi != ABI:
            raise RuntimeLoadError(f"{path} has ABI {abi}, this package needs {ABI}: remove it")

    def set_callbacks(self, callbacks: CCallbacks) -> None:
        """The caller keeps `callbacks` alive for as long as the process lives."""
        self._functions.tftrt_set_callbacks(ctypes.byref(callbacks))

    def set_strict(self, strict: bool) -> None:
        """Whether a native run that nobody asked for is an error."""
        self._functions.tftrt_set_strict(int(strict))

    def bind(
        self, resource: str, label: str, mode: int, executor: CExecutor | None, hold: bool
    ) -> None:
        """Run the resource's segment by `executor`; calls in flight end with the old one."""
        pointer = ctypes.byref(executor) if executor is not None else None
        self._functions.tftrt_bind(resource.encode(), label.encode(), mode, pointer, int(hold))

    def unbind(self, resource: str) -> None:
        """Run the segment natively."""
        self._functions.tftrt_unbind(resource.encode())

    def set_reason(self, resource: str, reason: str) -> None:
        """Why nothing is bound."""
        self._functions.tftrt_set_reason(resource.encode(), reason.encode())

    def observe(self, resource: str, change: int) -> None:
        """Add (1) or remove (-1) an observer."""
        self._functions.tftrt_observe(resource.encode(), change)

    def stats(self) -> Iterator[dict[str, Any]]:
        """One dict for each resource known, with the fields of CStats."""
        found: list[dict[str, Any]] = []

        def visit(stats: Any, _context: Any) -> None:
            values = {name: getattr(stats.contents, name) for name, *_ in CStats._fields_}
            found.append({k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()})

        self._functions.tftrt_visit_stats(_Visit(visit), None)
        return iter(found)

    def time(self, resource: str, on: bool) -> None:
        """Wait for the device around each call of the resource's segment, and keep its time."""
        self._functions.tftrt_time(resource.encode(), int(on))

    def take_times(self, resource: str) -> list[float]:
        """Seconds of each call since it was last asked, in the order of their ends."""
        count = self._functions.tftrt_take_times(resource.encode(), None, 0)
        times = (c_double * count)()
        taken = self._functions.tftrt_take_times(resource.encode(), times, count)
        return list(times[:taken])

    def close(self, seconds: float) -> bool:
        """Let no call into Python begin any more; False if some are still in flight."""
        return bool(self._functions.tftrt_close(seconds))

    def device_allocate(self, device: int, size: int) -> int:
        """Address of `size` bytes of TensorFlow's memory on a GPU; 0 if there is none."""
        return self._functions.tftrt_device_allocate(device, size) or 0

    def device_free(self, device: int, address: int) -> None:
        """Give it back, in the order of TensorFlow's stream."""
        self._functions.tftrt_device_free(device, address)

    @contextlib.contextmanager
    def foreign_stream(self, device: int) -> Iterator[None]:
        """Inside, memory from TensorFlow's pool may be written on any stream at once."""
        self._functions.tftrt_device_foreign_streams(device, 1)
        try:
            yield
        finally:
            self._functions.tftrt_device_foreign_streams(device, -1)
