"""An accuracy budget for a whole signature: which nodes of its segments stay in higher precision.

Each choice is tried on the live function with every segment's typed ONNX emulated in its place, so
the error is that of the model's own outputs, or of the user's metric.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import TypedOnnx
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError
from tftrt_toolkit.inputs import InputDirectory, signature_specs
from tftrt_toolkit.params import LabelledMetric
from tftrt_toolkit.pipeline import Batch, Candidate, ConvertedSignature, observe
from tftrt_toolkit.precision import Calibration, Override, PrecisionOptions, apply_precision
from tftrt_toolkit.precision.compare import relative_error
from tftrt_toolkit.precision.search import added_errors, fewest, keeping, override
from tftrt_toolkit.runtime.executor import install
from tftrt_toolkit.validation import sources
from tftrt_toolkit.validation.emulation import EmulatedExecutor

Node = tuple[str, str]  # segment, ONNX node
Error = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Typing:
    """How a segment is typed: everything that `apply_precision` needs."""

    candidate: Candidate
    precision: str
    calibration: Calibration | None
    options: PrecisionOptions

    def keeping(self, nodes: Sequence[str]) -> Typing:
        """The same with some nodes kept higher."""
        options = keeping(self.options, self.precision, nodes)
        return dataclasses.replace(self, options=options)

    def apply(self) -> TypedOnnx:
        """The typed ONNX."""
        return apply_precision(self.candidate.onnx, self.precision, self.calibration, self.options)


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a search found.

    typings: segment name -> with the nodes to keep higher. overrides: the same as lines of a
    precision file. error, first_error: with and without them. tried: how many choices were run.
    """

    typings: Mapping[str, Typing]
    overrides: tuple[Override, ...]
    error: float
    first_error: float
    tried: int


def meet_budget(
    signature: ConvertedSignature,
    typings: Mapping[str, Typing],
    fixed: Mapping[str, TypedOnnx],
    max_error: float,
    batches: Sequence[Batch],
    metric: LabelledMetric | None,
) -> Budget:
    """Keep as few nodes of the segments in `typings` higher as it takes; those in `fixed` stay.

    batches: inputs to measure the outputs' relative error on; with a metric its own data are used.

    Raises InvalidArgumentError where there is nothing to measure on, or TensorFlow sees a GPU, on
    which nothing is emulated; ConversionError if not even all nodes kept higher meet the budget.
    """
    if tf.config.list_logical_devices("GPU"):
        raise InvalidArgumentError(
            "max_error is measured in emulation on the CPU: convert with CUDA_VISIBLE_DEVICES=-1"
        )
    error = _metric_loss(signature, metric) if metric else _output_error(signature, batches)
    with _emulation(signature) as models:
        for name, typed in fixed.items():
            models.emulate(name, typed)

        def measured(kept: tuple[Node, ...]) -> float:
            for name, typing in typings.items():
                models.choose(typing, [node for segment, node in kept if segment == name])
            return models.checked(error)

        found = fewest(
            lambda: _added(signature, typings, batches), measured, max_error, signature.key
        )
    chosen = {
        name: typing.keeping([node for segment, node in found.kept if segment == name])
        for name, typing in typings.items()
    }
    lines = tuple(
        override(
            name, node, typings[name].options, typings[name].precision, found.added[name, node]
        )
        for name, node in found.kept
    )
    return Budget(chosen, lines, found.error, found.first_error, found.tried)


def _added(
    signature: ConvertedSignature, typings: Mapping[str, Typing], batches: Sequence[Batch]
) -> dict[Node, float]:
    """Error that each node adds, on the first call of its segment."""
    added: dict[Node, float] = {}
    for record in observe(signature.converted, batches[:1], max_samples=1):
        typing = typings.get(record.segment.name)
        if typing is None or not record.samples:
            continue
        errors = added_errors(
            typing.candidate.onnx,
            typing.precision,
            typing.calibration,
            typing.options,
            record.samples[0].inputs,
        )
        added |= {(record.segment.name, node): error for node, error in errors.items()}
    return added


class _Models:
    """The executors that stand for a signature's engines."""

    def __init__(self, signature: ConvertedSignature) -> None:
        self._resources = signature.converted.resources
        self._executors: dict[str, EmulatedExecutor] = {}
        self._chosen: dict[str, Sequence[str]] = {}

    def emulate(self, segment: str, typed: TypedOnnx) -> None:
        executor = EmulatedExecutor(lambda: typed)
        install(self._resources[segment], executor, hold=True)
        self._executors[segment] = executor

    def choose(self, typing: Typing, nodes: Sequence[str]) -> None:
        """Emulate a segment with some nodes kept higher, unless it is done already."""
        segment = typing.candidate.segment.name
        if self._chosen.get(segment) != nodes:
            self._chosen[segment] = nodes
            self.emulate(segment, typing.keeping(nodes).apply())

    def checked(self, error: Error) -> float:
        """The error, if every segment really was emulated."""
        value = error()
        for segment, executor in self._executors.items():
            if executor.failure is not None:
                raise ConversionError(f"{segment} can't be emulated: {executor.failure}")
        return value

    def release(self) -> None:
        for segment in self._executors:
            runtime.bind(self._resources[segment], None)


@contextlib.contextmanager
def _emulation(signature: ConvertedSignature) -> Iterator[_Models]:
    models = _Models(signature)
    try:
        yield models
    finally:
        models.release()


def _output_error(signature: ConvertedSignature, batches: Sequence[Batch]) -> Error:
    """The worst batch's worst float output's relative root mean squared error."""
    if not batches:
        raise InvalidArgumentError(
            "max_error needs inputs to measure on, and made-up ones don't run through the model: "
            "give calibration data"
        )

    def run(function: Any) -> list[list[np.ndarray]]:
        return [_floats(function(**batch)) for batch in batches]

    expected = run(signature.converted.original)
    return lambda: max(map(relative_error, expected, run(signature.converted.function)))


def _floats(outputs: Any) -> list[np.ndarray]:
    """The outputs that are floats, or all if none is."""
    arrays = [one.numpy() for one in tf.nest.flatten(outputs)]
    return [one for one in arrays if one.dtype.kind == "f"] or arrays


def _metric_loss(signature: ConvertedSignature, metric: LabelledMetric) -> Error:
    """By how much the metric is worse than FP32's."""
    specs = signature_specs(signature.converted.function)
    data = [(batch.inputs, labels, batch.size) for batch, labels in _labelled(metric, specs)]
    if not data:
        raise InvalidArgumentError("the metric's data give no batch: give labelled inputs")

    def value(function: Any) -> float:
        total, count = 0.0, 0
        for inputs, labels, size in data:
            outputs = function(**{name: tf.constant(one) for name, one in inputs.items()})
            total += size * float(np.mean(metric.function(labels, _output(outputs, metric.output))))
            count += size
        return total / count

    expected = value(signature.converted.original)
    return lambda: expected - value(signature.converted.function)


def _labelled(
    metric: LabelledMetric, specs: sources.Specs
) -> Iterator[tuple[sources.Batch, np.ndarray]]:
    source = metric.data
    if isinstance(source, str | Path):
        source = InputDirectory(Path(source))
    if isinstance(source, InputDirectory):
        found = sources.from_input_directory(source, specs)
    else:
        found = sources.from_input_fn(source, specs, labelled=True)
    for batch in found:
        if batch.labels is None:
            raise InvalidArgumentError("the metric's data have no labels")
        yield batch, batch.labels


def _output(outputs: Mapping[str, tf.Tensor], name: str | None) -> np.ndarray:
    if name is None and len(outputs) == 1:
        (name,) = outputs
    if name is None or name not in outputs:
        raise InvalidArgumentError(
            f"metric output {name!r} is none of the signature's: name one of {', '.join(outputs)}"
        )
    return outputs[name].numpy()
