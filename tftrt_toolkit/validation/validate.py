"""`validate()`: both models on the same inputs, and what follows from it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from tftrt_toolkit.errors import InvalidArgumentError, ValidationError
from tftrt_toolkit.validation import sources
from tftrt_toolkit.validation.comparison import SignatureComparison
from tftrt_toolkit.validation.deviation import is_float, tensor_snr_db
from tftrt_toolkit.validation.latency import compare_latency
from tftrt_toolkit.validation.models import (
    Arrays,
    LocalModel,
    Runnable,
    common_keys,
    conversion_report,
)
from tftrt_toolkit.validation.predictions import PredictionWriter
from tftrt_toolkit.validation.result import (
    BatchFailure,
    LatencyResult,
    SignatureResult,
    ValidationReport,
)
from tftrt_toolkit.validation.sources import Batch
from tftrt_toolkit.validation.tolerances import Tolerance, default_tolerance
from tftrt_toolkit.validation.worker import WorkerModel
from tftrt_toolkit.version import __version__

# Two runs of a deterministic function differ by its order of summation at most.
_REPEATABLE_DB = 100.0
_RANDOM_BATCHES = 8
_QUANTIZED = ("INT8", "FP8", "INT4")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValidationOptions:
    """How to validate.

    signature_keys: signatures to compare; empty: all of the original.
    tags: of both SavedModels' meta graphs.
    labelled: the input function yields pairs of inputs and labels.
    precision: whose tolerances apply; None: the one in the converted model's report, else FP32.
    tolerances: output name, or "*" for all -> limits to change, by `Tolerance`'s field names.
    metrics: name -> function(labels, outputs) that gives one value, or one an input; or a
      `keras.metrics.Metric`. metric_limits: name -> greatest change, either way; for "accuracy" and
      "top5_accuracy" the greatest drop.
    main_output: the output that labels belong to; None: the only classifier or the only output.
    classifiers: outputs that hold class scores; None: found by their names and values.
    keep_going: a batch that raises is reported with its index, and the run goes on.
    isolate: each model in a process of its own (SavedModel directories only).
    predictions: a .json or .csv file that gets one row an input.
    benchmark_runs: time so many calls of each model; 0: none.
    seed: of random inputs and of resampling. batch_size: of random inputs, records and images.
    max_batches: at most so many; None: all, or 8 random ones.
    image_range: values of black and white in images that are read from files.
    """

    signature_keys: tuple[str, ...] = ()
    tags: tuple[str, ...] = ("serve",)
    labelled: bool = False
    precision: str | None = None
    tolerances: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metric_limits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    main_output: str | None = None
    classifiers: tuple[str, ...] | None = None
    keep_going: bool = False
    isolate: bool = False
    predictions: Path | None = None
    benchmark_runs: int = 0
    seed: int = 0
    batch_size: int = 8
    max_batches: int | None = None
    image_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        for name in ("batch_size", "max_batches"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidArgumentError(f"{name}={value} must be at least 1")
        if self.benchmark_runs < 0:
            raise InvalidArgumentError(f"benchmark_runs={self.benchmark_runs} can't be negative")
        if isinstance(self.signature_keys, str) or isinstance(self.classifiers, str):
            raise InvalidArgumentError(
                "signature_keys and classifiers take a tuple of strings, not one string"
            )
        if self.precision is not None:
            default_tolerance(self.precision)


def validate(
    original: Any,
    converted: Any,
    input_fn: Any = None,
    *,
    options: ValidationOptions | None = None,
) -> ValidationReport:
    """Compare a converted model with its original on the same inputs.

    Args:
      original, converted: a SavedModel's directory, a loaded one, or a concrete function.
      input_fn: an input function or iterable of batches (arrays, lists, tuples or dicts, as for
        conversion; pairs with labels if `options.labelled`), a `tf.data.Dataset`, or a directory of
        .npz, TFRecord or image files; a dict of these by signature; None: random inputs.
      options: see ValidationOptions.

    Raises:
      ModelError: a model can't be loaded, or the two differ in signature, names, dtype or shape.
      InputError: an input doesn't fit.
      ValidationError: a model fails on a batch (unless `keep_going`).
    """
    options = options or ValidationOptions()
    if options.benchmark_runs:
        _need_directories(original, converted, "benchmark_runs")
    with _opened(original, converted, options) as (left, right):
        keys = common_keys(left, right, options.signature_keys)
        precision = options.precision or _precision(converted)
        validation = _Validation(left, right, input_fn, options, precision)
        results = validation.compare(keys)
        return ValidationReport(
            original=left.name,
            converted=right.name,
            precision=precision,
            versions={"tftrt_toolkit": __version__, "tensorflow": tf.__version__},
            executed={},
            signatures=results,
            latency=_latency(left, right, keys[0], validation.first_batch(keys[0]), options),
            warnings=validation.warnings(),
        )


@contextlib.contextmanager
def _opened(
    original: Any, converted: Any, options: ValidationOptions
) -> Iterator[tuple[Runnable, Runnable]]:
    """Both models, each in a process of its own if asked."""
    if not options.isolate:
        yield LocalModel(original, options.tags), LocalModel(converted, options.tags)
        return
    _need_directories(original, converted, "isolate")
    with WorkerModel(original, options.tags) as left, WorkerModel(converted, options.tags) as right:
        yield left, right


def _need_directories(original: Any, converted: Any, what: str) -> None:
    if not all(isinstance(model, str | Path) for model in (original, converted)):
        raise InvalidArgumentError(
            f"{what} runs each model in its own process: give the directories of two SavedModels"
        )


def _precision(converted: Any) -> str:
    directory = Path(converted) if isinstance(converted, str | Path) else None
    params = conversion_report(directory).get("params", {})
    return str(params.get("precision_mode", "FP32")).upper()


def _latency(
    original: Runnable, converted: Runnable, key: str, batch: Batch, options: ValidationOptions
) -> tuple[LatencyResult, ...]:
    """In the processes that are there, or in new ones."""
    if not options.benchmark_runs:
        return ()
    with contextlib.ExitStack() as stack:
        models = [
            model
            if isinstance(model, WorkerModel)
            else stack.enter_context(WorkerModel(model.name, options.tags))
            for model in (original, converted)
        ]
        return compare_latency(models, key, batch, options.benchmark_runs)


class _Validation:
    """One run over all signatures."""

    def __init__(
        self,
        original: Runnable,
        converted: Runnable,
        input_fn: Any,
        options: ValidationOptions,
        precision: str,
    ) -> None:
        self._original, self._converted = original, converted
        self._input_fn = input_fn
        self._options = options
        self._precision = precision
        self._first: dict[str, Batch] = {}
        self._random = False

    def compare(self, keys: list[str]) -> tuple[SignatureResult, ...]:
        """One signature after the other."""
        with contextlib.ExitStack() as stack:
            writer = None
            if self._options.predictions is not None:
                writer = stack.enter_context(PredictionWriter(Path(self._options.predictions)))
            return tuple(self._signature(key, writer) for key in keys)

    def first_batch(self, key: str) -> Batch:
        """The first batch that a signature was compared on."""
        return self._first[key]

    def warnings(self) -> tuple[str, ...]:
        """What the reader should know of the inputs."""
        if not self._random:
            return ()
        text = "the inputs are random, as none were given"
        if self._precision in _QUANTIZED:
            text += f": they say little about {self._precision}, whose ranges come from real data"
        return (text,)

    def _signature(self, key: str, writer: PredictionWriter | None) -> SignatureResult:
        options = self._options
        comparison = SignatureComparison(
            key,
            self._tolerances(key),
            options.classifiers,
            options.main_output,
            options.metrics,
            options.metric_limits,
            options.seed,
        )
        first = 0
        for index, batch in enumerate(self._batches(key)):
            if options.max_batches is not None and index >= options.max_batches:
                break
            self._first.setdefault(key, batch)
            outputs = self._run_both(key, index, batch, comparison)
            if outputs is not None:
                comparison.update(index, batch, *outputs)
                if writer is not None:
                    writer.write(key, index, first, batch, *outputs)
            first += batch.size
        if key not in self._first:
            raise ValidationError(f"signature {key!r} can't be validated: there is no input for it")
        return comparison.result()

    def _tolerances(self, key: str) -> dict[str, Tolerance]:
        base = default_tolerance(self._precision)
        outputs = self._original.signatures[key].outputs
        changes = self._options.tolerances
        unknown = sorted(changes.keys() - {"*"} - {
            name for found in self._original.signatures.values() for name in found.outputs
        })  # fmt: skip
        if unknown:
            raise InvalidArgumentError(
                f"tolerances name the output {unknown[0]!r}: choose from *, {', '.join(outputs)}"
            )
        base = base.changed(changes.get("*", {}))
        return {name: base.changed(changes.get(name, {})) for name in outputs}

    def _batches(self, key: str) -> Iterator[Batch]:
        options, specs = self._options, self._original.signatures[key].inputs
        source = self._input_fn
        if isinstance(source, Mapping):
            source = source.get(key)
        if source is None:
            self._random = True
            count = options.max_batches or _RANDOM_BATCHES
            return sources.from_seed(specs, options.seed, count, options.batch_size)
        if isinstance(source, str | Path):
            return sources.from_directory(
                Path(source), specs, options.batch_size, options.image_range
            )
        return sources.from_input_fn(source, specs, labelled=options.labelled)

    def _run_both(
        self, key: str, index: int, batch: Batch, comparison: SignatureComparison
    ) -> tuple[Arrays, Arrays] | None:
        outputs = []
        for role, model in (("original", self._original), ("converted", self._converted)):
            try:
                outputs.append(model.run(key, batch.inputs))
            except ValidationError as error:
                if not self._options.keep_going:
                    raise ValidationError(f"batch {index}: the {role} model: {error}") from error
                logging.warning("batch %d: the %s model: %s", index, role, error)
                comparison.fail(BatchFailure(index, role, str(error)))
                return None
        if index == 0:
            self._check_repeatable(key, batch, outputs[0], comparison)
        return outputs[0], outputs[1]

    def _check_repeatable(
        self, key: str, batch: Batch, first: Arrays, comparison: SignatureComparison
    ) -> None:
        """Run the original again: what it doesn't repeat can't be compared."""
        second = self._original.run(key, batch.inputs)
        for name, values in first.items():
            if is_float(values):
                repeats = tensor_snr_db(values, second[name]) >= _REPEATABLE_DB
            else:
                repeats = bool((values == second[name]).all())
            if repeats:
                continue
            text = (
                "the original itself gives other values each time it runs: it holds dropout or "
                "other random ops"
            )
            if name in self._options.tolerances:
                comparison.warn(f"output {name}: {text}")
            else:
                comparison.unstable(name, f"{text}; export it for inference, or set its tolerance")
