"""One TensorRT engine and its execution contexts, as the executor needs them.

Every call here is checked against the real bindings, by name; none was ever run on a GPU by us.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.runtime.bridge import CCall
from tftrt_toolkit.runtime.cuda_driver import copy_to_host
from tftrt_toolkit.runtime.executor import DeclinedError, Prepared
from tftrt_toolkit.runtime.loading import op_library
from tftrt_toolkit.trt import TensorRT

Shapes = Mapping[str, tuple[int, ...]]
# TensorRT wants an address of an empty tensor too, and never follows it.
_NOWHERE = 1 << 12
_INTEGERS = {4: np.int32, 8: np.int64}


@dataclasses.dataclass
class _Context:
    """An execution context set to one profile. One call at a time may set it up and enqueue it."""

    context: Any
    lock: threading.Lock
    shapes: Shapes = dataclasses.field(default_factory=dict)


class Engine:
    """A deserialized plan on one GPU; its weights lie in TensorFlow's memory pool.

    values: for each profile, the ranges of the inputs whose values are shapes.
    """

    def __init__(
        self,
        found: TensorRT,
        plan: bytes | memoryview,
        device: int,
        inputs: Sequence[str],
        outputs: Sequence[str],
        values: Sequence[Mapping[str, ShapeRange]],
    ) -> None:
        """Deserialize. Raises RuntimeError, with TensorRT's words, if it refuses."""
        self._found, self._values = found, values
        self._runtime = found.module.Runtime(found.logger)
        self._allocator = _pool(found.module, device)
        self._runtime.gpu_allocator = self._allocator
        with op_library().foreign_stream(device), found.collect() as messages:
            self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise RuntimeError(
                f"{found.flavour} {found.version} doesn't take the plan: {messages.summary()}"
            )
        held = {self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)}
        if not set(outputs) <= held <= {*inputs, *outputs}:
            raise RuntimeError(f"the plan's tensors are {sorted(held)}, not the segment's")
        self._inputs = [(index, name) for index, name in enumerate(inputs) if name in held]
        self._outputs = list(outputs)
        self._shape_inputs = [
            (index, name)
            for index, name in self._inputs
            if self._engine.is_shape_inference_io(name)
        ]
        self._lock = threading.Lock()
        self._contexts: dict[int, _Context] = {}

    def prepare(self, profile: int, shapes: Shapes, stream: int) -> Prepared:
        """Output shapes and scratch for these inputs; no output shape where it takes values."""
        scratch = self._engine.get_device_memory_size_for_profile_v2(profile)
        if self._shape_inputs:
            self._context(profile, stream)
            return Prepared(_never, [None] * len(self._outputs), scratch)
        held = self._context(profile, stream)
        with held.lock:
            self._set_shapes(held, shapes)
            return Prepared(_never, self._output_shapes(held.context), scratch)

    def run(self, profile: int, shapes: Shapes, call: CCall) -> None:
        """Enqueue one call on its stream. Raises DeclinedError on values outside the profile."""
        held = self._context(profile, call.stream)
        context = held.context
        with held.lock, self._found.collect() as messages:
            self._set_shapes(held, shapes)
            for index, name in self._inputs:
                _check(context.set_tensor_address(name, call.inputs[index].data or _NOWHERE), name)
            on_host = [self._give_values(context, profile, one, call) for one in self._shape_inputs]
            known = not self._shape_inputs
            for index, shape in enumerate([] if known else self._output_shapes(context)):
                if shape is not None:
                    call.allocate_output(index, shape)
            for index, name in enumerate(self._outputs):
                _check(context.set_tensor_address(name, call.outputs[index].data or _NOWHERE), name)
            context.set_device_memory(call.scratch or _NOWHERE, call.scratch_bytes)
            if not context.execute_async_v3(call.stream):
                raise RuntimeError(f"TensorRT can't run it: {messages.summary()}")
            del on_host  # read by TensorRT until here

    def _context(self, profile: int, stream: int) -> _Context:
        with self._lock:
            if profile not in self._contexts:
                strategy = self._found.module.ExecutionContextAllocationStrategy.USER_MANAGED
                with self._found.collect() as messages:
                    context = self._engine.create_execution_context(strategy)
                    if context is None or not context.set_optimization_profile_async(
                        profile, stream
                    ):
                        raise RuntimeError(f"TensorRT makes no context: {messages.summary()}")
                self._contexts[profile] = _Context(context, threading.Lock())
            return self._contexts[profile]

    def _set_shapes(self, held: _Context, shapes: Shapes) -> None:
        if held.shapes == shapes:
            return
        for _, name in self._inputs:
            _check(held.context.set_input_shape(name, shapes[name]), name)
        held.shapes = dict(shapes)

    def _output_shapes(self, context: Any) -> list[tuple[int, ...] | None]:
        missing = context.infer_shapes()
        if missing:
            raise RuntimeError(f"TensorRT still wants to know about {', '.join(missing)}")
        shapes = [tuple(context.get_tensor_shape(name)) for name in self._outputs]
        unknown = [n for n, s in zip(self._outputs, shapes, strict=True) if min(s, default=0) < 0]
        if unknown:
            raise RuntimeError(f"the shape of {unknown[0]} depends on values")
        return list(shapes)

    def _give_values(
        self, context: Any, profile: int, tensor: tuple[int, str], call: CCall
    ) -> np.ndarray:
        """Copy a shape tensor to the host, where TensorRT reads it; the one wait for the device."""
        index, name = tensor
        view = call.inputs[index]
        count = int(np.prod(view.shape))
        host = np.empty(max(count, 1), _INTEGERS[view.bytes // count if count else 4])
        copy_to_host(host.ctypes.data, view.data or 0, view.bytes, call.stream)
        span = self._values[profile].get(name) if profile < len(self._values) else None
        given = tuple(int(one) for one in host[:count])
        if span is not None and not all(
            a <= b <= c for a, b, c in zip(span.min, given, span.max, strict=True)
        ):
            raise DeclinedError(f"no plan's profile takes the values {list(given)} of {name}")
        _check(context.set_tensor_address(name, host.ctypes.data), name)
        return host


def _never(call: CCall) -> None:
    raise AssertionError("the executor runs the engine itself")


def _check(done: bool, name: str) -> None:
    if not done:
        raise RuntimeError(f"TensorRT refused the shape or the address of {name}")


@functools.cache
def _pool(module: Any, device: int) -> Any:
    """TensorFlow's memory pool as TensorRT's allocator; one a device, for it must outlive engines.

    Versions differ in which of the two pairs of methods they call.
    """

    class Pool(module.IGpuAllocator):
        """Hands TensorFlow's memory on."""

        def __init__(self) -> None:
            module.IGpuAllocator.__init__(self)

        def allocate(self, size: int, _alignment: int, _flags: int) -> int | None:
            return (op_library().device_allocate(device, size) or None) if size else None

        def deallocate(self, memory: Any) -> bool:
            op_library().device_free(device, _address(memory))
            return True

        def allocate_async(self, size: int, alignment: int, flags: int, _stream: int) -> int | None:
            return self.allocate(size, alignment, flags)

        def deallocate_async(self, memory: Any, _stream: int) -> bool:
            return self.deallocate(memory)

    return Pool()


def _address(memory: Any) -> int:
    """An address, which some versions wrap in a capsule."""
    if memory is None or isinstance(memory, int):
        return memory or 0
    unwrap = ctypes.pythonapi.PyCapsule_GetPointer
    unwrap.restype, unwrap.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return unwrap(memory, None) or 0
