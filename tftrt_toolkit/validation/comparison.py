"""One signature's outputs, compared batch after batch in constant memory."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tftrt_toolkit.errors import InvalidArgumentError, ModelError
from tftrt_toolkit.validation.agreement import (
    AgreementStream,
    is_right,
    looks_like_classifier,
    top_classes,
)
from tftrt_toolkit.validation.deviation import ErrorStream
from tftrt_toolkit.validation.metrics import metric_stream
from tftrt_toolkit.validation.models import Arrays
from tftrt_toolkit.validation.result import (
    BatchFailure,
    MetricResult,
    OutputResult,
    SignatureResult,
    WorstInput,
)
from tftrt_toolkit.validation.sources import Batch
from tftrt_toolkit.validation.statistics import PairedBootstrap
from tftrt_toolkit.validation.tolerances import Tolerance, judge_drop, judge_output

WORST_INPUTS = 12
_TOP5 = 5


class SignatureComparison:
    """Streams both models' outputs of one signature.

    tolerances: output -> its limits. classifiers: outputs that hold class scores; None: found by
    their names and values. main: the output that labels and metrics belong to; None: the only
    classifier, or the only output.
    """

    def __init__(
        self,
        key: str,
        tolerances: Mapping[str, Tolerance],
        classifiers: Sequence[str] | None = None,
        main: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        metric_limits: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        """Start with nothing compared."""
        self._key = key
        self._tolerances = dict(tolerances)
        self._classifiers = classifiers
        self._main = main
        self._metrics = {
            name: metric_stream(name, metric, seed) for name, metric in (metrics or {}).items()
        }
        self._limits = dict(metric_limits or {})
        self._accuracy = {1: PairedBootstrap(seed), _TOP5: PairedBootstrap(seed)}
        self._errors: dict[str, ErrorStream] = {}
        self._agreement: dict[str, AgreementStream] = {}
        self._dtypes: dict[str, str] = {}
        self._worst: list[tuple[float, int, WorstInput]] = []
        self._order = itertools.count()
        self._failures: list[BatchFailure] = []
        self._unstable: dict[str, str] = {}
        self._warnings: dict[str, None] = {}
        self._batches = self._inputs = 0
        self._labelled = 0

    def update(self, index: int, batch: Batch, original: Arrays, converted: Arrays) -> None:
        """Add a batch. Raises ModelError if the models' outputs aren't of one shape."""
        _check_shapes(original, converted)
        if not self._errors:
            self._start(original)
        for name, stream in self._errors.items():
            errors = stream.update(original[name], converted[name])
            self._keep_worst(name, errors, index, batch, original[name], converted[name])
        for name, agreement in self._agreement.items():
            agreement.update(original[name], converted[name])
        if batch.labels is not None:
            self._update_metrics(batch.labels, original, converted)
        self._batches += 1
        self._inputs += batch.size

    def set_tolerance(self, output: str, tolerance: Tolerance) -> None:
        """Judge an output by other limits."""
        self._tolerances[output] = tolerance

    def unstable(self, output: str, text: str) -> None:
        """Note an output that the original itself doesn't repeat: it can't be judged."""
        self._unstable[output] = text

    def fail(self, failure: BatchFailure) -> None:
        """Note a batch that a model didn't take."""
        self._failures.append(failure)

    def warn(self, text: str) -> None:
        """Note something for the reader, once."""
        self._warnings[text] = None

    def _start(self, original: Arrays) -> None:
        unknown = sorted(set(self._classifiers or ()) - original.keys())
        unknown += [self._main] if self._main and self._main not in original else []
        if unknown:
            raise InvalidArgumentError(
                f"{self._key} has no output {unknown[0]!r}: choose from {', '.join(original)}"
            )
        for name, values in original.items():
            self._errors[name] = ErrorStream()
            self._dtypes[name] = values.dtype.name
            asked = self._classifiers is not None and name in self._classifiers
            if asked or (self._classifiers is None and looks_like_classifier(name, values)):
                self._agreement[name] = AgreementStream(values.shape[-1])
        if self._main is None:
            candidates = list(self._agreement) or list(original)
            self._main = candidates[0] if len(candidates) == 1 else None

    def _update_metrics(self, labels: np.ndarray, original: Arrays, converted: Arrays) -> None:
        if self._main is None:
            self.warn("labels are not used: name the output that they belong to (main_output)")
            return
        left, right = original[self._main], converted[self._main]
        self._labelled += len(labels)
        if self._main in self._agreement and labels.ndim == 1:
            for top, bootstrap in self._accuracy.items():
                if top < left.shape[-1]:
                    bootstrap.update(is_right(left, labels, top), is_right(right, labels, top))
        for metric in self._metrics.values():
            metric.update(labels, left, right)

    def _keep_worst(
        self,
        output: str,
        errors: np.ndarray,
        index: int,
        batch: Batch,
        original: np.ndarray,
        converted: np.ndarray,
    ) -> None:
        scale = self._errors[output].summary().scale or 1.0
        rows = np.argsort(-errors, kind="stable")[:WORST_INPUTS]
        for row in rows:
            share = float(errors[row] / scale)
            full = len(self._worst) >= WORST_INPUTS
            if share == 0 or (full and share <= self._worst[0][0]):
                continue
            answers = None
            if output in self._agreement:
                pair = top_classes(original[row : row + 1]), top_classes(converted[row : row + 1])
                answers = (int(pair[0][0]), int(pair[1][0]))
            label = None
            if batch.labels is not None and batch.labels.ndim == 1:
                label = int(batch.labels[row])
            worst = WorstInput(
                self._inputs + int(row), index, output, share, answers, label, _image(batch, row)
            )
            push = heapq.heappushpop if full else heapq.heappush
            push(self._worst, (share, next(self._order), worst))

    def result(self) -> SignatureResult:
        """Everything so far, judged."""
        return SignatureResult(
            key=self._key,
            batches=self._batches,
            inputs=self._inputs,
            outputs=tuple(self._output(name) for name in self._errors),
            metrics=tuple(self._metric_results()),
            worst=tuple(one for _, _, one in sorted(self._worst, key=lambda w: (-w[0], w[1]))),
            batch_failures=tuple(self._failures),
            warnings=tuple(self._warnings),
        )

    def _output(self, name: str) -> OutputResult:
        errors = self._errors[name].summary()
        agreement = self._agreement[name].summary() if name in self._agreement else None
        tolerance = self._tolerances[name]
        failures = judge_output(errors, agreement, tolerance)
        if name in self._unstable:
            failures = (self._unstable[name],)
        return OutputResult(name, self._dtypes[name], errors, agreement, tolerance, failures)

    def _metric_results(self) -> list[MetricResult]:
        found = []
        for top, bootstrap in self._accuracy.items():
            if not bootstrap.samples:
                continue
            name = "accuracy" if top == 1 else f"top{top}_accuracy"
            estimate = bootstrap.estimate()
            limit = self._limits.get(name, self._tolerances[str(self._main)].max_drop)
            found.append(MetricResult(name, estimate, *judge_drop(estimate, limit)))
        for name, metric in self._metrics.items():
            if self._labelled:
                found.append(metric.result(self._limits.get(name)))
            else:
                self.warn(f"metric {name} wasn't computed: the inputs have no labels")
        return found


def _check_shapes(original: Arrays, converted: Arrays) -> None:
    for name, values in original.items():
        if name not in converted or values.shape != converted[name].shape:
            got = list(converted[name].shape) if name in converted else "nothing"
            raise ModelError(f"output {name!r} has shape {got} instead of {list(values.shape)}")
        if values.dtype != converted[name].dtype:
            raise ModelError(
                f"output {name!r} is {converted[name].dtype.name} instead of {values.dtype.name}"
            )


def _image(batch: Batch, row: int) -> np.ndarray | None:
    """The first input that looks like a picture, scaled to [0, 1]."""
    for values in batch.inputs.values():
        shape = values.shape
        if values.ndim != 4 or shape[-1] not in (1, 3) or min(shape[1:3]) < 4:
            continue
        if not np.issubdtype(values.dtype, np.number) or max(shape[1:3]) > 1024:
            continue
        image = values[row].astype(np.float32)
        low, high = float(np.nanmin(image)), float(np.nanmax(image))
        return (image - low) / ((high - low) or 1.0)
    return None
