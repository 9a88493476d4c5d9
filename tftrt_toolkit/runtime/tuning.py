"""Time the executors on this machine, and tell which each segment should run by."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.manifest import TunedExecutor
from tftrt_toolkit.runtime.loading import op_library
from tftrt_toolkit.runtime.observing import observe
from tftrt_toolkit.runtime.resources import bind
from tftrt_toolkit.runtime.selection import check_names, device_name
from tftrt_toolkit.runtime.statistics import SegmentStats, runtime_stats

CANDIDATES = ("native", "xla", "onnxruntime", "tensorrt")
# What the model must gain for anything but native to win: less may be chance.
_MARGIN = 0.02

Run = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to time.

    warmup: runs before the clock starts. repeats: of each segment's own timing. rounds: timings of
    the whole model, the least counts; each is of as many runs as take `seconds`.
    """

    warmup: int = 6  # ONNX Runtime's fifth call of a shape captures a CUDA graph
    repeats: int = 20
    rounds: int = 5
    seconds: float = 0.1


@dataclasses.dataclass(frozen=True)
class _Trial:
    """One way to run the model: resource -> executor, and the seconds that a run takes so."""

    executors: Mapping[str, str]
    seconds: float


def tune(
    run: Run,
    assets: Mapping[str, AssetFile],
    *,
    executors: Sequence[str] = CANDIDATES,
    effort: Effort = Effort(),
) -> dict[str, TunedExecutor]:
    """Find the executors by which the model takes the least time; resource -> its winner.

    run: runs the model once, on representative inputs on the device that it will be used on.
    assets: resource name -> its asset. Segments that `run` doesn't reach are left out; executors
    that can't run a segment here are passed over.

    The whole model is timed with all segments native, with all by one executor, and with each by
    its own fastest (timed alone, the device idle before and after); runs follow each other without
    a wait, as they do under load. The fastest of these wins, and native unless that gains 2 %. A
    segment that meets several shapes in one `run` is judged by all of them together, under the
    first.

    Leaves each resource bound as `bind(resource, asset)` does; write the winners with
    `AssetFile.with_tuned` and bind again to have them take effect. Raises as `load_ops` and the
    model do, and InvalidArgumentError on an unknown executor.
    """
    names = ("native", *(one for one in check_names(executors, "executors") if one != "native"))
    shapes = _observe_shapes(run, assets)
    reached = {resource: assets[resource] for resource in shapes}
    seconds: dict[str, dict[str, float]] = {resource: {} for resource in shapes}
    trials = []
    try:
        for name in names:
            found = _time_segments(run, _bind_all(dict.fromkeys(reached, name), reached), effort)
            for resource, median in found.items():
                seconds[resource][name] = median
            if found and len(found) == len(reached):
                trials.append(_Trial(dict.fromkeys(reached, name), _time_model(run, effort)))
        mixed = {one: min(timed, key=timed.__getitem__) for one, timed in seconds.items()}
        if all(trial.executors != mixed for trial in trials):
            bound = _bind_all(mixed, reached)
            if len(_time_segments(run, bound, effort)) == len(reached):
                trials.append(_Trial(mixed, _time_model(run, effort)))
    finally:
        for resource, asset in assets.items():
            bind(resource, asset)
    return _winners(trials, shapes, seconds)


def _winners(
    trials: Sequence[_Trial],
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]],
    seconds: Mapping[str, Mapping[str, float]],
) -> dict[str, TunedExecutor]:
    if not trials:
        return {}
    native = trials[0]
    best = min(trials, key=lambda trial: trial.seconds)
    if best.seconds > native.seconds * (1 - _MARGIN):
        best = native
    device = device_name()
    for resource, executor in best.executors.items():
        logging.info("%s: %s wins of %s", resource, executor, seconds[resource])
    return {
        resource: TunedExecutor(device, shapes[resource], executor, seconds[resource])
        for resource, executor in best.executors.items()
    }


def _observe_shapes(
    run: Run, assets: Mapping[str, AssetFile]
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Resource -> input name -> shape, of the first call of each segment that `run` reaches."""
    seen: dict[str, dict[str, tuple[int, ...]]] = {}

    def observer(resource: str) -> Callable[[tuple[np.ndarray, ...], object], None]:
        names = [spec.name for spec in assets[resource].inputs]

        def note(inputs: tuple[np.ndarray, ...], _outputs: object) -> None:
            shapes = (array.shape for array in inputs)
            seen.setdefault(resource, dict(zip(names, shapes, strict=True)))

        return note

    with observe({resource: observer(resource) for resource in assets}):
        run()
    return seen


def _bind_all(executors: Mapping[str, str], assets: Mapping[str, AssetFile]) -> list[str]:
    """The resources that could be bound to the executors wanted."""
    choices = {
        resource: bind(resource, assets[resource], executors=[name])
        for resource, name in executors.items()
    }
    return [
        resource
        for resource, choice in choices.items()
        if choice is not None and choice.executor == executors[resource] and not choice.reasons
    ]


def _time_segments(run: Run, resources: Sequence[str], effort: Effort) -> dict[str, float]:
    """Median seconds of a call of each resource that its executor ran to the end."""
    if not resources:
        return {}
    library = op_library()
    before = _stats(resources)
    for _ in range(effort.warmup):
        run()
    for resource in resources:
        library.take_times(resource)
        library.time(resource, True)
    try:
        for _ in range(effort.repeats):
            run()
    finally:
        for resource in resources:
            library.time(resource, False)
    after = _stats(resources)
    found = {}
    for resource in resources:
        times = library.take_times(resource)
        fell_back = after[resource].declined > before[resource].declined
        broke = after[resource].executor != before[resource].executor or after[resource].reason
        if times and not fell_back and not broke:
            found[resource] = statistics.median(times)
    return found


def _time_model(run: Run, effort: Effort) -> float:
    """Seconds of one run among runs that follow each other: the least of some rounds."""

    def timed(count: int) -> float:
        tf.test.experimental.sync_devices()
        start = time.perf_counter()
        for _ in range(count):
            run()
        tf.test.experimental.sync_devices()
        return (time.perf_counter() - start) / count

    once = timed(effort.warmup or 1)
    count = max(1, round(effort.seconds / once))
    return min(timed(count) for _ in range(effort.rounds))


def _stats(resources: Sequence[str]) -> dict[str, SegmentStats]:
    return {one.resource: one for one in runtime_stats() if one.resource in resources}
