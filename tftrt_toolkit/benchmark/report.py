"""What a benchmark found, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from tftrt_toolkit.inspection.text import size
from tftrt_toolkit.validation.result import LatencyResult
from tftrt_toolkit.validation.text import align, format_db

_LATENCY = ("latency", "batch", "median ms", "p90", "p99", "inputs/s", "speed-up", "peak RSS GB")
_MODELS = ("model", "size", "SNR dB", "same class", "accuracy")


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """How a model's outputs differ from the original's.

    snr_db: the least of any output. same_class: share of inputs with the same first class, None
    where there is no classifier. accuracy, original_accuracy: on labelled inputs, else None.
    emulated: how many segments ran emulated for this comparison.
    """

    inputs: int
    snr_db: float
    same_class: float | None
    accuracy: float | None
    original_accuracy: float | None
    emulated: int


@dataclasses.dataclass(frozen=True)
class ModelFigures:
    """One model. role: "original", "converted" or "tflite". bytes: on disk.

    executed: executor -> how many segments it ran, while they were timed. latency: one a batch
    size. accuracy: None for the original.
    """

    role: str
    path: str
    bytes: int
    executed: Mapping[str, int]
    latency: tuple[LatencyResult, ...]
    accuracy: Accuracy | None


@dataclasses.dataclass(frozen=True)
class BenchmarkReport:
    """All models, the original first.

    native_only: the converted model ran in TensorFlow alone, so that no engine was timed.
    """

    models: tuple[ModelFigures, ...]
    signature_key: str
    random_inputs: bool
    native_only: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know, a sentence each."""
        found = []
        if self.native_only:
            found.append(
                "no engine of the converted model fits this machine: its segments were timed in "
                "TensorFlow, the original's way"
            )
        emulated = sum(one.accuracy.emulated for one in self.models if one.accuracy)
        if emulated:
            found.append(f"for the accuracy, engines were emulated on the CPU: {emulated}")
        if self.random_inputs:
            found.append("the inputs are random, as none were given: they say little of accuracy")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON's types; speed_up is the original's median over the model's."""
        content = dataclasses.asdict(self)
        for one, plain in zip(self.models, content["models"], strict=True):
            for index, found in enumerate(plain["latency"]):
                found["speed_up"] = round(self.speed_up(one, index), 4)
                found["model"] = one.role
            if one.accuracy and not math.isfinite(one.accuracy.snr_db):
                plain["accuracy"]["snr_db"] = str(one.accuracy.snr_db)
        return content | {"notes": list(self.notes)}

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def speed_up(self, model: ModelFigures, index: int) -> float:
        """How many times as fast as the original a model is, at the batch size of that index."""
        return self.models[0].latency[index].median_ms / model.latency[index].median_ms


def to_text(report: BenchmarkReport) -> str:
    """The whole report."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: BenchmarkReport) -> Iterator[str]:
    for note in report.notes:
        yield f"  note: {note}"
    yield from align([_MODELS, *(_model_row(one) for one in report.models)])
    yield ""
    rows: list[tuple[str, ...]] = [_LATENCY]
    for index in range(len(report.models[0].latency)):
        rows += [_latency_row(report, one, index) for one in report.models]
    yield from align(rows)


def _model_row(one: ModelFigures) -> tuple[str, ...]:
    found = one.accuracy
    if found is None:
        return (one.role, size(one.bytes), "-", "-", "-")
    accuracy = "-"
    if found.accuracy is not None:
        accuracy = f"{found.original_accuracy:.2%} -> {found.accuracy:.2%}"
    same = "-" if found.same_class is None else f"{found.same_class:.2%}"
    return (one.role, size(one.bytes), format_db(found.snr_db), same, accuracy)


def _latency_row(report: BenchmarkReport, one: ModelFigures, index: int) -> tuple[str, ...]:
    found = one.latency[index]
    return (
        one.role,
        str(found.batch),
        f"{found.median_ms:.2f}",
        f"{found.p90_ms:.2f}",
        f"{found.p99_ms:.2f}",
        f"{found.inputs_per_second:.0f}",
        f"{report.speed_up(one, index):.2f}",
        f"{found.peak_rss_bytes / 1e9:.2f}",
    )
