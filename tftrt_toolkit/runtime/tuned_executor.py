"""Run each shape by the executor that was fastest on it when the model was tuned."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence

from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.manifest import TunedExecutor
from tftrt_toolkit.runtime import bridge
from tftrt_toolkit.runtime.executor import CallInfo, DeclinedError, Executor, Prepared

_IN_THE_KERNEL = {"native": bridge.NATIVE, "xla": bridge.XLA}


class TunedDispatcher:
    """Takes the winner of the shapes that are nearest to a call's.

    make: makes an executor by name when a winner first asks for it.
    """

    def __init__(
        self,
        asset: AssetFile,
        winners: Sequence[TunedExecutor],
        make: Callable[[str], Executor],
    ) -> None:
        """`winners`: those of this device, one at least."""
        self._names = [spec.name for spec in asset.inputs]
        self._winners = list(winners)
        self._make = make
        self._lock = threading.Lock()
        self._executors: dict[str, Executor] = {}

    @property
    def name(self) -> str:
        """Names the winners too, for profiles and statistics."""
        return "tuned: " + ", ".join(dict.fromkeys(one.executor for one in self._winners))

    def prepare(self, call: CallInfo) -> Prepared:
        """As the winner does."""
        shapes = dict(zip(self._names, call.shapes(), strict=True))
        winner = min(self._winners, key=lambda one: distance(one.shapes, shapes)).executor
        if winner in _IN_THE_KERNEL:
            return Prepared(_never, [None] * call.num_outputs, 0, _IN_THE_KERNEL[winner])
        with self._lock:
            if winner not in self._executors:
                self._executors[winner] = self._make(winner)
        return self._executors[winner].prepare(call)

    def close(self) -> None:
        """Close all that were made."""
        for executor in self._executors.values():
            executor.close()


def distance(one: Mapping[str, Sequence[int]], other: Mapping[str, Sequence[int]]) -> float:
    """How far apart two sets of shapes are: the sum of their dimensions' ratios, as logarithms."""
    total = 0.0
    for name, shape in other.items():
        tuned = one.get(name, ())
        if len(tuned) != len(shape):
            return math.inf
        total += sum(abs(math.log((a + 1) / (b + 1))) for a, b in zip(tuned, shape, strict=True))
    return total


def _never(_call: object) -> None:
    raise DeclinedError("these shapes run in the kernel itself")
