"""What is bound to each resource: by `bind`, or by a SavedModel that is being loaded."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import AssetError, InternalError, ToolkitError
from tftrt_toolkit.runtime import bridge
from tftrt_toolkit.runtime.executor import Executor, install
from tftrt_toolkit.runtime.loading import callback, load_ops, op_library
from tftrt_toolkit.runtime.onnxruntime_executor import OnnxRuntimeExecutor
from tftrt_toolkit.runtime.selection import (
    Choice,
    allowed_executors,
    check_names,
    choose,
    fitting_plans,
)
from tftrt_toolkit.runtime.tensorrt_executor import Build, TensorRtExecutor
from tftrt_toolkit.runtime.tuned_executor import TunedDispatcher


@dataclasses.dataclass(frozen=True)
class _Bound:
    """A resource's asset; all that its choice of an executor depended on; why it runs natively."""

    path: Path
    identity: tuple[Any, ...]
    reason: str


_lock = threading.Lock()
_bound: dict[str, _Bound] = {}
# Directories that `load` is loading now -> the executors that were asked for. The ops run in
# TensorFlow's threads, so the asset's path alone tells which load they belong to.
_loading: dict[Path, tuple[str, ...]] = {}

_build: Build | None = None
_can_build: Callable[[], bool] = bool


def set_builder(build: Build | None, can_build: Callable[[], bool] = lambda: True) -> None:
    """How engines are built while a model runs, where it allows that; None: they aren't.

    For resources that are bound or loaded from now on. `build` takes an asset and the profile
    wanted, and raises EngineBuildError if it can't. can_build: whether it could on this machine; it
    is asked only where there is a GPU.
    """
    global _build, _can_build
    _build, _can_build = build, can_build


def bind(
    resource_name: str, asset: AssetFile | None, *, executors: Sequence[str] | None = None
) -> Choice | None:
    """Choose an executor for a resource from its asset; None: unbind it, it runs natively.

    Stays bound and loaded, whatever models are dropped, until it is bound anew. Calls in flight end
    with the executor that they began with. executors: instead of those of `set_executors`. Returns
    what was chosen, and why. Raises as `load_ops` does, and InvalidArgumentError on an unknown
    executor.
    """
    if asset is None:
        with _lock:
            _bound.pop(resource_name, None)
        op_library().unbind(resource_name)
        return None
    allowed = allowed_executors()
    if executors is not None:
        allowed = check_names(executors, "executors")
    return _bind(resource_name, asset, allowed, max_cached_engines=1, hold=True)


def _builds_here() -> bool:
    return _build is not None and _can_build()


def loaded_assets() -> dict[str, Path]:
    """Resource name -> its asset's file, of all that were loaded or bound in this process."""
    with _lock:
        return {resource: bound.path for resource, bound in _bound.items()}


def _bind(
    resource: str,
    asset: AssetFile,
    allowed: tuple[str, ...],
    max_cached_engines: int,
    hold: bool,
) -> Choice:
    choice = choose(asset.manifest, allowed, _builds_here)
    reason = choice.reason if choice.executor == "native" else ""
    with _lock:
        _bound[resource] = _Bound(asset.path, _identity(asset.path, allowed), reason)
    library = op_library()
    if choice.executor == "xla":
        library.bind(resource, "xla", bridge.XLA, None, hold)
    elif choice.executor != "native":
        install(resource, make_executor(choice, asset, max_cached_engines), hold=hold)
    elif choice.reasons or not allowed:
        library.unbind(resource)
        library.set_reason(resource, choice.reason)
    else:
        library.bind(resource, "native", bridge.NATIVE, None, hold)
    return choice


def make_executor(choice: Choice, asset: AssetFile, max_cached_engines: int) -> Executor:
    """The executor that was chosen; it loads what it needs at its first call."""

    def make(name: str) -> Executor:
        if name == "onnxruntime":
            return OnnxRuntimeExecutor(asset)
        if name == "tensorrt":
            plans = choice.plans or fitting_plans(asset.plans)[0]
            return TensorRtExecutor(asset, plans, max_cached_engines, _build)
        raise InternalError(f"no executor is called {name!r}")

    if choice.executor == "tuned":
        return TunedDispatcher(asset, choice.tuned, make)
    return make(choice.executor)


def load(
    directory: str | os.PathLike[str],
    tags: Sequence[str] | None = None,
    *,
    executors: Sequence[str] | None = None,
) -> Any:
    """`tf.saved_model.load`, with the executors that this model's segments may run by.

    executors: as in `set_executors`; None: those that hold for the process. Raises as `load_ops`
    and the loader do, and InvalidArgumentError on an unknown executor.
    """
    load_ops()
    if executors is None:
        return tf.saved_model.load(os.fspath(directory), tags=tags)
    path = Path(directory).absolute()
    with _lock:
        _loading[path] = check_names(executors, "executors")
    try:
        return tf.saved_model.load(os.fspath(directory), tags=tags)
    finally:
        with _lock:
            _loading.pop(path, None)


@callback("initialize")
def _initialize(resource: bytes, filename: bytes, max_cached: int, message: int, size: int) -> int:
    """A segment of a SavedModel that is being loaded: whatever its asset holds, the model loads."""
    name, path = resource.decode(), Path(os.fsdecode(filename))
    try:
        allowed = _allowed_for(path)
        with _lock:
            before = _bound.get(name)
        if before and (before.path, before.identity) == (path, _identity(path, allowed)):
            return bridge.OK  # the model is loaded a second time
        if is_stock_asset(path):
            _stays_native(name, "its engine is of stock TF-TRT, for TensorRT 8: convert the model")
            return bridge.OK
        choice = _bind(name, AssetFile.open(path), allowed, max_cached, hold=False)
        # Once: not again if this process has converted the model or loaded it from elsewhere.
        if choice.executor == "native" and choice.reason not in ("", before and before.reason):
            logging.warning("%s runs natively: %s", name, choice.reason)
        else:
            logging.info("%s runs by %s", name, choice.executor)
    except AssetError as error:
        _stays_native(name, str(error))
    except ToolkitError as error:  # what the user asked for can't be
        bridge.write_text(message, size, str(error))
        return bridge.FAILED
    return bridge.OK


def _identity(path: Path, allowed: tuple[str, ...]) -> tuple[Any, ...]:
    """Differs if another file lies there now, or other executors are allowed."""
    try:
        status = path.stat()
    except OSError:
        return (allowed,)
    return status.st_ino, status.st_mtime_ns, status.st_size, allowed


def _allowed_for(path: Path) -> tuple[str, ...]:
    with _lock:
        for directory in path.absolute().parents:
            if directory in _loading:
                return _loading[directory]
    return allowed_executors()


def _stays_native(resource: str, reason: str) -> None:
    op_library().set_reason(resource, reason)
    logging.warning("%s runs natively: %s", resource, reason)


def is_stock_asset(path: Path) -> bool:
    """Whether a file holds stock TF-TRT's serialized engines: TFRecords of TRTEngineInstance.

    A record begins with its length in 8 bytes, and a checksum of these in 4.
    """
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    if not head:  # stock TF-TRT writes an empty file where it has built nothing
        return True
    return len(head) == 12 and _masked_crc32c(head[:8]) == int.from_bytes(head[8:], "little")


def _masked_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@callback("serialize")
def _serialize(resource: bytes, filename: bytes, message: int, size: int) -> int:
    with _lock:
        bound = _bound.get(resource.decode())
    try:
        if bound is None:
            raise FileNotFoundError("no asset is bound to it")
        shutil.copyfile(bound.path, os.fsdecode(filename))
    except OSError as error:
        bridge.write_text(message, size, f"{resource.decode()} can't be serialized: {error}")
        return bridge.FAILED
    return bridge.OK


@callback("fell_back")
def _fell_back(resource: bytes, executor: bytes, status: int, reason: bytes) -> None:
    how = "this call" if status == bridge.DECLINED else "from now on"
    logging.warning(
        "%s runs natively (%s): %s: %s",
        resource.decode(), how, executor.decode(), reason.decode(errors="replace"),
    )  # fmt: skip
