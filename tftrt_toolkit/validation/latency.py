"""Latency and memory of both models in one run, in turns, each in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tftrt_toolkit.validation.result import LatencyResult
from tftrt_toolkit.validation.sources import Batch
from tftrt_toolkit.validation.worker import WorkerModel

_WARM_UP = 5


def compare_latency(
    models: Sequence[WorkerModel], key: str, batch: Batch, runs: int
) -> tuple[LatencyResult, ...]:
    """Time `runs` calls of each model on one batch, alternating, so that both see the same noise.

    A call is timed from numpy inputs to numpy outputs, inside the model's own process.
    """
    seconds: list[list[float]] = [[] for _ in models]
    for index in range(_WARM_UP + runs):
        for model, found in zip(models, seconds, strict=True):
            model.run(key, batch.inputs)
            if index >= _WARM_UP:
                found.append(model.seconds)
    return tuple(
        _result(model, batch.size, np.array(found) * 1e3)
        for model, found in zip(models, seconds, strict=True)
    )


def _result(model: WorkerModel, batch: int, milliseconds: np.ndarray) -> LatencyResult:
    median, p90, p99 = (float(value) for value in np.percentile(milliseconds, (50, 90, 99)))
    return LatencyResult(
        model=model.name,
        batch=batch,
        runs=len(milliseconds),
        median_ms=median,
        p90_ms=p90,
        p99_ms=p99,
        inputs_per_second=1e3 * batch / median,
        peak_rss_bytes=int(model.memory["peak_rss_bytes"]),
        device_bytes=model.memory["device_bytes"],
    )
