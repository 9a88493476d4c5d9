"""`validate()`: both models on the same inputs, and what follows from it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from tftrt_toolkit.errors import InvalidArgumentError, ValidationError
from tftrt_toolkit.tensorflow_version import has_stock_converter
from tftrt_toolkit.validation import sources
from tftrt_toolkit.validation.comparison import SignatureComparison
from tftrt_toolkit.validation.deviation import is_float, tensor_snr_db
from tftrt_toolkit.validation.execution import running
from tftrt_toolkit.validation.latency import compare_latency
from tftrt_toolkit.validation.models import (
    Arrays,
    LocalModel,
    Runnable,
    common_keys,
    conversion_report,
)
from tftrt_toolkit.validation.options import ValidationOptions
from tftrt_toolkit.validation.predictions import PredictionWriter
from tftrt_toolkit.validation.result import (
    BatchFailure,
    Finding,
    LatencyResult,
    SignatureResult,
    ValidationReport,
)
from tftrt_toolkit.validation.rounding import allow_rounding
from tftrt_toolkit.validation.segments import EMULATION, NATIVE
from tftrt_toolkit.validation.sources import Batch
from tftrt_toolkit.validation.tflite import open_model
from tftrt_toolkit.validation.tolerances import Tolerance, default_tolerance
from tftrt_toolkit.validation.worker import WorkerModel
from tftrt_toolkit.version import __version__

# Two runs of a deterministic function differ by its order of summation at most.
_REPEATABLE_DB = 100.0
_RANDOM_BATCHES = 8
_QUANTIZED = ("INT8", "FP8", "INT4")


def validate(
    original: Any,
    converted: Any,
    input_fn: Any = None,
    *,
    options: ValidationOptions | None = None,
) -> ValidationReport:
    """Compare a converted model with its original on the same inputs.

    Args:
      original: a SavedModel's directory, a loaded one, or a concrete function.
      converted: likewise, or a .tflite file.
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
    if options.blame and has_stock_converter():
        raise InvalidArgumentError(
            f"blame needs TensorFlow 2.18 or later: the engines of TensorFlow {tf.__version__} "
            "hold no graph to look into"
        )
    for name in ("benchmark_runs", "blame", "isolate"):
        if getattr(options, name):
            _need_directories(original, converted, name)
    with _opened(original, converted, options) as (left, right, executed):
        keys = common_keys(left, right, options.signature_keys)
        precision = options.precision or _precision(converted)
        validation = _Validation(left, right, input_fn, options, precision)
        results = validation.compare(keys)
    return ValidationReport(
        original=left.name,
        converted=right.name,
        precision=precision,
        versions={"tftrt_toolkit": __version__, "tensorflow": tf.__version__},
        executed=executed,
        signatures=results,
        findings=validation.blame(keys) if options.blame else (),
        latency=_latency(left, right, keys[0], validation.first_batch(keys[0]), options),
        warnings=validation.warnings(executed),
    )


@contextlib.contextmanager
def _opened(
    original: Any, converted: Any, options: ValidationOptions
) -> Iterator[tuple[Runnable, Runnable, Mapping[str, str]]]:
    """Both models, each in a process of its own if asked, and how the segments run."""
    with contextlib.ExitStack() as stack:
        if options.isolate:
            left = stack.enter_context(WorkerModel(original, options.tags))
            right = stack.enter_context(
                WorkerModel(converted, options.tags, emulate=options.emulate)
            )
            yield left, right, right.executed
            return
        local = open_model(converted, options.tags)
        executed: Mapping[str, str] = {}
        if local.directory is not None:
            execution = stack.enter_context(
                running(local.directory, options.tags, emulate=options.emulate)
            )
            local.check, executed = execution.check, execution.executed
        yield LocalModel(original, options.tags), local, executed


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
    """Both in new processes, in which nothing is emulated."""
    if not options.benchmark_runs:
        return ()
    with (
        WorkerModel(original.name, options.tags) as left,
        WorkerModel(converted.name, options.tags) as right,
    ):
        return compare_latency((left, right), key, batch, options.benchmark_runs)


def _segments(count: int) -> str:
    return f"{count} segments were" if count > 1 else "1 segment was"


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
                writer = stack.enter_context(
                    PredictionWriter(Path(self._options.predictions), keys)
                )
            return tuple(self._signature(key, writer) for key in keys)

    def first_batch(self, key: str) -> Batch:
        """The first batch that a signature was compared on."""
        return self._first[key]

    def warnings(self, executed: Mapping[str, str]) -> tuple[str, ...]:
        """What the reader should know of the inputs, and of how segments ran."""
        found = []
        if self._random:
            text = "the inputs are random, as none were given"
            if self._precision in _QUANTIZED:
                text += f": they say little about {self._precision}, whose ranges come from data"
            found.append(text)
        ways = Counter(executed.values())
        if ways[EMULATION]:
            found.append(
                f"{_segments(ways[EMULATION])} emulated on the CPU: the precision is that of the "
                "engines; the order of sums and the choice of kernels isn't"
            )
        if ways[NATIVE]:
            found.append(f"{_segments(ways[NATIVE])} run by TensorFlow: no engine was compared")
        return tuple(found)

    def blame(self, keys: Sequence[str]) -> tuple[Finding, ...]:
        """What each signature's segments add, the worst first."""
        # Not before: it needs ONNX, and a plain comparison doesn't.
        from tftrt_toolkit.validation.blame import find_blame

        found: list[Finding] = []
        converted = conversion_report(Path(self._converted.name)).get("signatures", keys)
        for key in (key for key in keys if key in converted):
            limit = min(tolerance.min_snr_db for tolerance in self._tolerances(key).values())
            found += find_blame(
                Path(self._original.name),
                Path(self._converted.name),
                key,
                self.first_batch(key),
                self._precision,
                limit,
                self._options.tags,
            )
        return tuple(sorted(found, key=lambda finding: finding.snr_db))

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
            if not batch.size:  # it tells nothing
                continue
            self._first.setdefault(key, batch)
            outputs = self._run_both(key, index, batch, comparison)
            if outputs is not None:
                comparison.update(index, batch, *outputs)
                if writer is not None:
                    writer.write(key, index, first, batch, *outputs)
            first += batch.size
        if key not in self._first:
            raise ValidationError(f"signature {key!r} can't be validated: there is no input for it")
        if self._precision == "FP32":
            first_inputs = self._first[key].inputs
            allow_rounding(
                comparison, self._original, first_inputs, options.tolerances, options.seed
            )
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
        if batch is self._first[key]:
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
                "the original itself gives other values each time it runs: it holds dropout, "
                "other random ops or variables that it assigns"
            )
            if name in self._options.tolerances:
                comparison.warn(f"output {name}: {text}")
            else:
                comparison.unstable(name, f"{text}; export it for inference, or set its tolerance")
