"""What a validation found: frozen dataclasses, ready for JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tftrt_toolkit.validation.agreement import AgreementSummary
from tftrt_toolkit.validation.deviation import ErrorSummary
from tftrt_toolkit.validation.statistics import PairedEstimate
from tftrt_toolkit.validation.tolerances import Tolerance


@dataclasses.dataclass(frozen=True)
class OutputResult:
    """One output: its differences, what was allowed, and what it misses."""

    name: str
    dtype: str
    errors: ErrorSummary
    agreement: AgreementSummary | None
    tolerance: Tolerance
    failures: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class MetricResult:
    """One metric over labelled inputs, for both models."""

    name: str
    estimate: PairedEstimate
    failures: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class WorstInput:
    """One of the inputs that differ most.

    index: of the input over the whole run; batch: the batch it came in. share: its error as a share
    of the output's scale. answers: first classes (original, converted) where it is a classifier.
    image: a picture [height, width, 1 or 3] in [0, 1] where an input looks like one.
    """

    index: int
    batch: int
    output: str
    share: float
    answers: tuple[int, int] | None
    label: int | None
    image: np.ndarray | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class BatchFailure:
    """A batch that a model didn't take: its index, which model, and the error's first line."""

    batch: int
    model: str
    error: str


@dataclasses.dataclass(frozen=True)
class SignatureResult:
    """One signature, compared on every batch."""

    key: str
    batches: int
    inputs: int
    outputs: tuple[OutputResult, ...]
    metrics: tuple[MetricResult, ...]
    worst: tuple[WorstInput, ...]
    batch_failures: tuple[BatchFailure, ...]
    warnings: tuple[str, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """Everything that speaks against the converted model, a sentence each."""
        found = [f"output {out.name}: {text}" for out in self.outputs for text in out.failures]
        found += [f"{metric.name}: {text}" for metric in self.metrics for text in metric.failures]
        found += [f"batch {f.batch}: {f.model}: {f.error}" for f in self.batch_failures]
        if not self.batches:
            found.append("no batch was compared")
        return tuple(found)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a segment adds to the error.

    segment: its name. snr_db: of its outputs, on identical inputs, against the original's graph.
    source: "weights" where its native function already differs from the original, "engine" where
      the engine's graph does.
    node: the node to blame, if one was found; tensor: the first tensor that is off.
    advice: a sentence, and `precision_line` the line for a precision file, or "".
    """

    segment: str
    snr_db: float
    source: str
    node: str = ""
    tensor: str = ""
    advice: str = ""
    precision_line: str = ""


@dataclasses.dataclass(frozen=True)
class LatencyResult:
    """One model's time per batch, in milliseconds, and its memory."""

    model: str
    batch: int
    runs: int
    median_ms: float
    p90_ms: float
    p99_ms: float
    inputs_per_second: float
    peak_rss_bytes: int
    device_bytes: int | None


@dataclasses.dataclass(frozen=True)
class ValidationReport:
    """A whole validation.

    executed: segment -> how it ran: "emulation", "native" or an executor's name.
    """

    original: str
    converted: str
    precision: str
    versions: Mapping[str, str]
    executed: Mapping[str, str]
    signatures: tuple[SignatureResult, ...]
    findings: tuple[Finding, ...] = ()
    latency: tuple[LatencyResult, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the converted model isn't the same, a sentence each; empty if it passes."""
        several = len(self.signatures) > 1
        return tuple(
            f"{result.key}: {text}" if several else text
            for result in self.signatures
            for text in result.failures
        )

    @property
    def passed(self) -> bool:
        """The verdict."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Everything but pictures, in JSON's types; NaN and infinities become strings."""
        found = {"passed": self.passed, "failures": list(self.failures)}
        return found | _plain(self)

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: _plain(item) for name, item in fields if not isinstance(item, np.ndarray)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
