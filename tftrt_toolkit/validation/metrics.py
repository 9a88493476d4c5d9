"""The user's own metrics on both models: functions, and `keras.metrics`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.validation.result import MetricResult
from tftrt_toolkit.validation.statistics import (
    PairedBootstrap,
    PairedEstimate,
    normal_estimate,
)

MetricFunction = Callable[[np.ndarray, np.ndarray], Any]
# Copies of a Keras metric that see resampled inputs; the interval comes from their spread.
_KERAS_REPLICATES = 40


class MetricStream(Protocol):
    """A metric of both models, batch after batch."""

    def update(self, labels: np.ndarray, original: np.ndarray, converted: np.ndarray) -> None:
        """Add a batch's labels and both models' outputs."""

    def result(self, limit: float | None) -> MetricResult:
        """The metric so far; with `limit`, a difference beyond it either way is a failure."""


def metric_stream(name: str, metric: Any, seed: int) -> MetricStream:
    """The stream for a function or a Keras metric; raises InvalidArgumentError for others."""
    if hasattr(metric, "update_state") and hasattr(metric, "from_config"):
        return _KerasMetric(name, metric, seed)
    if callable(metric):
        return _FunctionMetric(name, metric, seed)
    raise InvalidArgumentError(
        f"metric {name!r} is neither a function(labels, outputs) nor a keras.metrics.Metric"
    )


class _FunctionMetric:
    """A function that gives a value for each input [batch], or one for the whole batch."""

    def __init__(self, name: str, function: MetricFunction, seed: int) -> None:
        self._name = name
        self._function = function
        self._bootstrap = PairedBootstrap(seed)

    def update(self, labels: np.ndarray, original: np.ndarray, converted: np.ndarray) -> None:
        left, right = (
            np.asarray(self._function(labels, values), np.float64)
            for values in (original, converted)
        )
        if left.shape not in ((), (len(labels),)) or left.shape != right.shape:
            raise InvalidArgumentError(
                f"metric {self._name!r} gives shape {left.shape} for {len(labels)} inputs: "
                "return one value, or one for each input"
            )
        self._bootstrap.update(left, right)

    def result(self, limit: float | None) -> MetricResult:
        return _judged(self._name, self._bootstrap.estimate(), limit)


class _KerasMetric:
    """A Keras metric: one copy a model on all inputs, and pairs of copies on resampled ones."""

    def __init__(self, name: str, metric: Any, seed: int) -> None:
        self._name = name
        self._rng = np.random.default_rng(seed)
        self._samples = 0
        # The first pair sees each input once.
        self._pairs = [(_copy(metric), _copy(metric)) for _ in range(_KERAS_REPLICATES + 1)]

    def update(self, labels: np.ndarray, original: np.ndarray, converted: np.ndarray) -> None:
        weights = self._rng.poisson(1.0, (_KERAS_REPLICATES + 1, len(labels))).astype(np.float32)
        weights[0] = 1
        for (left, right), weight in zip(self._pairs, weights, strict=True):
            left.update_state(labels, original, sample_weight=weight)
            right.update_state(labels, converted, sample_weight=weight)
        self._samples += len(labels)

    def result(self, limit: float | None) -> MetricResult:
        values = np.array([[float(left.result()), float(right.result())]
                           for left, right in self._pairs])  # fmt: skip
        differences = values[1:, 1] - values[1:, 0]
        estimate = normal_estimate(values[0, 0], values[0, 1], differences, self._samples)
        return _judged(self._name, estimate, limit)


def _copy(metric: Any) -> Any:
    return type(metric).from_config(metric.get_config())


def _judged(name: str, estimate: PairedEstimate, limit: float | None) -> MetricResult:
    if limit is None:
        return MetricResult(name, estimate, (), ())
    if abs(estimate.difference) > limit:
        failure = f"it changes by {estimate.difference:+.4g}, more than {limit:.4g}"
        return MetricResult(name, estimate, (failure,), ())
    if max(-estimate.low, estimate.high) > limit:
        warning = (
            f"{estimate.samples} inputs can't tell whether it changes by more than {limit:.4g}: the"
            f" 95 % interval of the difference is {estimate.low:+.4g} to {estimate.high:+.4g}"
        )
        return MetricResult(name, estimate, (), (warning,))
    return MetricResult(name, estimate, (), ())
