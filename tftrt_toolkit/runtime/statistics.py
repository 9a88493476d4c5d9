"""Counters and timings of every segment in this process."""

from __future__ import annotations

import dataclasses

from tftrt_toolkit.runtime.loading import op_library


@dataclasses.dataclass(frozen=True)
class SegmentStats:
    """What one segment's calls did so far.

    executor: bound now; "native" if there is none. reason: why a call or all of them ran natively.
    calls, seconds: run by executors, and the host's time in them: on a GPU, that of enqueueing.
    native_calls, native_seconds: run by TensorFlow (or by XLA, where `executor` is "xla").
    declined: calls that the executor left to the native function. failed: executors that broke.
    observed: calls that an `observe` block watched.
    """

    resource: str
    executor: str
    reason: str
    calls: int
    seconds: float
    native_calls: int
    native_seconds: float
    declined: int
    failed: int
    observed: int


def runtime_stats() -> tuple[SegmentStats, ...]:
    """One entry for each segment that was loaded, bound or run, by name. Raises as `load_ops`."""
    found = []
    for values in op_library().stats():
        seconds = {
            name.replace("nanoseconds", "seconds"): values.pop(name) / 1e9
            for name in ("nanoseconds", "native_nanoseconds")
        }
        found.append(SegmentStats(**values, **seconds))
    return tuple(sorted(found, key=lambda one: one.resource))
