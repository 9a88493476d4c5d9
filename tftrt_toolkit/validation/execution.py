"""How the segments of a converted model run while it is validated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tftrt_toolkit.tensorflow_version import has_stock_converter
from tftrt_toolkit.validation.segments import STOCK, Execution, engines_of


@contextlib.contextmanager
def running(directory: Path, tags: tuple[str, ...], *, emulate: bool) -> Iterator[Execution]:
    """How the segments of a loaded SavedModel run; while active, emulated where that is asked for.

    Only segments that no engine runs here are emulated, and none where TensorFlow sees a GPU.
    """
    engines = list(engines_of(directory, tags).values())
    if has_stock_converter():
        yield Execution({engine.name: STOCK for engine in engines})
        return
    # Not before: an environment for TensorFlow 2.17 needn't have ONNX.
    from tftrt_toolkit.validation.emulation import chosen_executors, emulated

    if not emulate:
        yield Execution(chosen_executors(engines))
        return
    with emulated(engines) as execution:
        yield execution
