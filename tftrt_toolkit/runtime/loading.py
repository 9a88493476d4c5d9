"""`load_ops()`: the ops registered and the callbacks in place, once a process."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from absl import logging
from tensorflow.python.framework import op_def_registry

from tftrt_toolkit.errors import RuntimeLoadError
from tftrt_toolkit.runtime.bridge import CCallbacks, OpLibrary
from tftrt_toolkit.runtime.library import library_path
from tftrt_toolkit.runtime.unloading import let_models_go
from tftrt_toolkit.tensorflow_version import has_stock_converter

# How long a process that exits waits for executors that are in the middle of a call.
_CLOSE_SECONDS = 30.0

_lock = threading.Lock()
_library: OpLibrary | None = None
_callbacks = CCallbacks()


def callback(field: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the library calls this function for a field of CCallbacks.

    Modules of this folder use it when they are imported, so before the library is loaded.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(_callbacks, field, dict(CCallbacks._fields_)[field](function))
        return function

    return register


def load_ops() -> None:
    """Register TRTEngineOp and its companions with TensorFlow; again is harmless.

    The first time on a machine this compiles the library. TensorFlow up to 2.17 has the ops.
    Raises MissingDependencyError without a compiler, RuntimeLoadError if the library doesn't load.
    """
    if not has_stock_converter():
        op_library()


def op_library() -> OpLibrary:
    """The loaded library. Raises as `load_ops` does, and on TensorFlow up to 2.17."""
    global _library
    with _lock:
        if _library is None:
            if has_stock_converter():
                raise RuntimeLoadError(
                    f"TensorFlow {tf.__version__} runs TRTEngineOp itself: executors of this "
                    "toolkit need TensorFlow 2.18 or later"
                )
            _library = _load()
        return _library


def _load() -> OpLibrary:
    if op_def_registry.get("TRTEngineOp") is not None:
        raise RuntimeLoadError(
            "another library has registered TRTEngineOp in this process: import only one of them"
        )
    library = OpLibrary(library_path())
    library.set_callbacks(_callbacks)
    let_models_go()
    atexit.register(_close, library)
    return library


def set_strict(strict: bool) -> None:
    """Whether it is an error if a segment would run natively though another executor was wanted.

    The environment variable TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION=False, which is read when
    a segment is first called, makes it one in any case. Raises as `load_ops` does.
    """
    op_library().set_strict(strict)


def _close(library: OpLibrary) -> None:
    if not library.close(_CLOSE_SECONDS):
        logging.warning("an executor is still running after %g s; exiting", _CLOSE_SECONDS)
