"""What an executor is in Python, and its way behind the C++ kernel."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf

from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import AssetError, InternalError
from tftrt_toolkit.runtime import bridge
from tftrt_toolkit.runtime.bridge import CCall, CExecutor
from tftrt_toolkit.runtime.loading import op_library


class DeclinedError(Exception):
    """This call isn't for this executor, with the reason; the segment runs natively this time."""


@dataclasses.dataclass(frozen=True)
class Input:
    """An input of the call at hand. `address` is on the device where the call has one."""

    dtype: tf.DType
    shape: tuple[int, ...]
    address: int
    nbytes: int


@dataclasses.dataclass(frozen=True)
class CallInfo:
    """What an executor may prepare for.

    device: CUDA ordinal; None on the CPU. stream: address of TensorFlow's CUstream.
    allow_build: whether the model allows engines to be built while it runs.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[tf.DType, ...]
    device: int | None
    stream: int
    allow_build: bool

    @property
    def num_outputs(self) -> int:
        """How many outputs the op has."""
        return len(self.outputs)

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The inputs' shapes."""
        return tuple(one.shape for one in self.inputs)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """How to run inputs of given shapes on a given device.

    run: enqueues one call; must be thread safe and may not wait for the device. It finds addresses
      in the CCall, and allocates the outputs that have no address yet (`allocate_output`).
    output_shapes: None for an output whose shape is known only when it has run.
    scratch_bytes: memory that the kernel lends for the time of the call.
    mode: bridge.NATIVE or bridge.XLA where these shapes run better so; `run` is then not called.
    """

    run: Callable[[CCall], None]
    output_shapes: Sequence[tuple[int, ...] | None]
    scratch_bytes: int = 0
    mode: int = bridge.EXECUTOR


def require_interface(asset: AssetFile, call: CallInfo) -> None:
    """Raise AssetError unless the asset's inputs and outputs are those of the op that is called.

    Those of another would be read and written out of bounds.
    """
    for what, mine, theirs in (
        ("inputs", asset.inputs, [one.dtype for one in call.inputs]),
        ("outputs", asset.outputs, list(call.outputs)),
    ):
        found = [spec.dtype for spec in mine]
        if found != theirs:
            raise AssetError(
                f"{asset.path}: it is another segment's, with {what} of {_names(found)} where the "
                f"op has {_names(theirs)}"
            )


def _names(dtypes: Sequence[tf.DType]) -> str:
    return ", ".join(dtype.name for dtype in dtypes) or "no dtype"


class Executor(Protocol):
    """Runs one segment. Both methods may be called from any thread."""

    @property
    def name(self) -> str:
        """As users select it, e.g. "onnxruntime"."""

    def prepare(self, call: CallInfo) -> Prepared:
        """Called once for each set of shapes, device and stream, never twice at a time.

        Raises DeclinedError for shapes that it can't take, anything else if it is broken.
        """

    def close(self) -> None:
        """Free everything: no call is in flight. A call that comes all the same finds it open."""


_ids = itertools.count(1)
_lock = threading.Lock()
_executors: dict[int, Executor] = {}
_runs: dict[int, Callable[[CCall], None]] = {}


def install(resource: str, executor: Executor, *, hold: bool) -> None:
    """Let `executor` run the resource's segment; it is closed when it is unbound and idle.

    hold: it isn't closed either when no model and no function that uses the resource is left.
    """
    identity = next(_ids)
    with _lock:
        _executors[identity] = executor
    functions = CExecutor(identity, _prepare, _enqueue, _forget, _trim, _release)
    op_library().bind(resource, executor.name, bridge.EXECUTOR, functions, hold)


# The functions that C++ calls. An exception can't cross into C, so each becomes a status.


@bridge.Prepare
def _prepare(identity: int, call_pointer: Any, plan_pointer: Any) -> int:
    call, plan = call_pointer.contents, plan_pointer.contents
    try:
        prepared = _executors[identity].prepare(describe(call))
        if len(prepared.output_shapes) != call.num_outputs:
            raise InternalError(
                f"{len(prepared.output_shapes)} output shapes for {call.num_outputs} outputs"
            )
    except Exception as error:
        return _refuse(call, error)
    for index, shape in enumerate(prepared.output_shapes):
        if shape is None or len(shape) > bridge.MAX_RANK:
            continue
        plan.ranks[index] = len(shape)
        for axis, size in enumerate(shape):
            plan.dims[index * bridge.MAX_RANK + axis] = size
    token = next(_ids)
    _runs[token] = prepared.run
    plan.scratch_bytes, plan.token, plan.mode = prepared.scratch_bytes, token, prepared.mode
    return bridge.OK


@bridge.Enqueue
def _enqueue(token: int, address: int) -> int:
    call = CCall.from_address(address)
    try:
        _runs[token](call)
    except Exception as error:
        return _refuse(call, error)
    return bridge.OK


@bridge.Forget
def _forget(token: int) -> None:
    _runs.pop(token, None)


@bridge.Forget
def _trim(identity: int) -> None:
    _executors[identity].close()


@bridge.Forget
def _release(identity: int) -> None:
    with _lock:
        executor = _executors.pop(identity)
    executor.close()


def describe(call: CCall) -> CallInfo:
    """What an executor is told of a call."""
    inputs = []
    for index in range(call.num_inputs):
        view = call.inputs[index]
        dtype = tf.dtypes.as_dtype(view.dtype)
        inputs.append(Input(dtype, view.shape, view.data or 0, view.bytes))
    outputs = (tf.dtypes.as_dtype(call.outputs[index].dtype) for index in range(call.num_outputs))
    device = call.device if call.device >= 0 else None
    return CallInfo(tuple(inputs), tuple(outputs), device, call.stream or 0, bool(call.allow_build))


def _refuse(call: CCall, error: Exception) -> int:
    words = " ".join(str(error).split())
    if isinstance(error, DeclinedError):
        call.refuse(words)
        return bridge.DECLINED
    call.refuse(f"{type(error).__name__}: {words}" if words else type(error).__name__)
    return bridge.FAILED
