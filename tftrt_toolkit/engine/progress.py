"""TensorRT's progress monitor, handed to a Python function."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

# Called with a phase's name ("Optimizing graph"), the steps done and the steps in all.
ProgressFn = Callable[[str, int, int], None]


class Monitor:
    """Wraps `progress` for a builder. An exception in it cancels the build; `error` keeps it."""

    def __init__(self, trt: Any, progress: ProgressFn) -> None:
        """`trt` is the bindings' module."""
        self.error: BaseException | None = None
        self._progress = progress
        self._lock = threading.Lock()  # the builder calls from several threads
        self._steps: dict[str, int] = {}
        self.bridge = self._make_bridge(trt)

    def _make_bridge(self, trt: Any) -> Any:
        report, steps = self._report, self._steps

        class Bridge(trt.IProgressMonitor):
            """The object that the builder calls."""

            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)

            def phase_start(self, name: str, parent: str | None, num_steps: int) -> None:
                steps[name] = num_steps
                report(name, 0)

            def step_complete(self, name: str, step: int) -> bool:
                return report(name, step + 1)

            def phase_finish(self, name: str) -> None:
                report(name, steps.pop(name, 0))

        return Bridge()

    def _report(self, name: str, done: int) -> bool:
        with self._lock:
            if self.error is None:
                try:
                    self._progress(name, done, max(self._steps.get(name, done), done))
                # Whatever it is, it must not unwind through the builder's C++: `build` raises it.
                except BaseException as error:
                    self.error = error
            return self.error is None
