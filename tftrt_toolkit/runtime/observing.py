"""Watch what flows through engine ops while they run natively."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tftrt_toolkit.runtime.loading import callback, op_library

Arrays = tuple[np.ndarray, ...]
Observer = Callable[[Arrays, Arrays], None]


class _Watch:
    """One `observe` block: its observers, and the first error that one of them raised."""

    def __init__(self, observers: Mapping[str, Observer]) -> None:
        self.observers = dict(observers)
        self.error: BaseException | None = None


_lock = threading.Lock()
_watches: list[_Watch] = []


@contextlib.contextmanager
def observe(observers: Mapping[str, Observer]) -> Iterator[None]:
    """While active, the named resources' segments run natively and hand their tensors over.

    observers: resource name -> callback(inputs, outputs), both tuples of numpy copies in the op's
      order; resource inputs (variables) are left out. A callback may be called from several threads
      at once, and sees every iteration of a loop.

    An error in a callback lets the model run on and is raised when the block ends. Blocks may
    nest and overlap. Raises as `load_ops` does.
    """
    library = op_library()
    watch = _Watch(observers)
    with _lock:
        _watches.append(watch)
    for resource in watch.observers:
        library.observe(resource, 1)
    try:
        yield
    finally:
        for resource in watch.observers:
            library.observe(resource, -1)
        with _lock:
            _watches.remove(watch)
    if watch.error is not None:
        raise watch.error


@callback("observed")
def _observed(name: bytes, call: Any) -> None:
    resource = name.decode()
    with _lock:
        watches = [watch for watch in _watches if resource in watch.observers]
    views = call.contents
    inputs = tuple(views.inputs[i].to_numpy() for i in range(views.num_inputs))
    outputs = tuple(views.outputs[i].to_numpy() for i in range(views.num_outputs))
    for watch in watches:
        try:
            watch.observers[resource](inputs, outputs)
        except Exception as error:  # there is no caller to raise it to but the block's own
            watch.error = watch.error or error
