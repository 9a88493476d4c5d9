"""Time each segment with each executor on this machine, and tell the winners."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import logging

from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.manifest import TunedExecutor
from tftrt_toolkit.runtime.loading import op_library
from tftrt_toolkit.runtime.observing import observe
from tftrt_toolkit.runtime.resources import bind
from tftrt_toolkit.runtime.selection import check_names, device_name
from tftrt_toolkit.runtime.statistics import SegmentStats, runtime_stats

CANDIDATES = ("native", "xla", "onnxruntime", "tensorrt")


def tune(
    run: Callable[[], object],
    assets: Mapping[str, AssetFile],
    *,
    executors: Sequence[str] = CANDIDATES,
    warmup: int = 3,
    repeats: int = 20,
) -> dict[str, TunedExecutor]:
    """Time every segment with every executor while `run()` runs the model; the fastest by median.

    run: runs the model once, on representative inputs on the device that it will be used on.
    assets: resource name -> its asset. Segments that `run` doesn't reach are left out; executors
    that can't run a segment here are passed over. The calls are timed with the device idle before
    and after. A segment that meets several shapes in one `run` is judged by all of them together,
    under the first.

    Leaves each resource bound as `bind(resource, asset)` does; write the winners with
    `AssetFile.with_tuned` and bind again to have them take effect. Raises as `load_ops` and the
    model do, and InvalidArgumentError on an unknown executor.
    """
    names = check_names(executors, "executors")
    shapes = _observe_shapes(run, assets)
    seconds: dict[str, dict[str, float]] = {resource: {} for resource in shapes}
    try:
        for name in names:
            reached = _bind_all(name, {resource: assets[resource] for resource in shapes})
            for resource, median in _time(run, reached, warmup, repeats).items():
                seconds[resource][name] = median
    finally:
        for resource, asset in assets.items():
            bind(resource, asset)
    winners = {}
    for resource, measured in seconds.items():
        if not measured:
            continue
        best = min(measured, key=measured.__getitem__)
        logging.info("%s: %s is fastest of %s", resource, best, measured)
        winners[resource] = TunedExecutor(device_name(), shapes[resource], best, measured)
    return winners


def _observe_shapes(
    run: Callable[[], object], assets: Mapping[str, AssetFile]
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


def _bind_all(name: str, assets: Mapping[str, AssetFile]) -> list[str]:
    """The resources that could be bound to the executor."""
    choices = {
        resource: bind(resource, asset, executors=[name]) for resource, asset in assets.items()
    }
    return [
        resource
        for resource, choice in choices.items()
        if choice is not None and choice.executor == name and not choice.reasons
    ]


def _time(
    run: Callable[[], object], resources: Sequence[str], warmup: int, repeats: int
) -> dict[str, float]:
    """Median seconds of a call of each resource that its executor ran to the end."""
    if not resources:
        return {}
    library = op_library()
    for _ in range(warmup):
        run()
    before = _stats(resources)
    for resource in resources:
        library.take_times(resource)
        library.time(resource, True)
    try:
        for _ in range(repeats):
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


def _stats(resources: Sequence[str]) -> dict[str, SegmentStats]:
    return {one.resource: one for one in runtime_stats() if one.resource in resources}
