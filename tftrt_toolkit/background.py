"""Work beside Python's own: TensorFlow, ONNX Runtime, TensorRT and hashing leave it its lock.

Python runs one thread at a time, so a conversion keeps one core busy; what these libraries do on
another costs it nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


@contextlib.contextmanager
def beside(function: Callable[..., Result], *arguments: Any) -> Iterator[Future[Result]]:
    """Call a function in a thread of its own; the block's end waits for it.

    Yields a future. Take its `result()`, which raises what the function raised. If the block
    raises, that is raised once the function has ended.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="tftrt") as pool:
        yield pool.submit(function, *arguments)
