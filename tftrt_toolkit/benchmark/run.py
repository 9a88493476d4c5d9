"""`benchmark()`: an original and what was made of it, timed in turns and compared."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tftrt_toolkit.benchmark.report import Accuracy, BenchmarkReport, ModelFigures
from tftrt_toolkit.errors import InputError, InvalidArgumentError
from tftrt_toolkit.inputs import InputDirectory
from tftrt_toolkit.saved_model import find_meta_graph, read_saved_model, size_on_disk
from tftrt_toolkit.validation import ValidationOptions, validate
from tftrt_toolkit.validation.latency import compare_latency
from tftrt_toolkit.validation.models import common_keys
from tftrt_toolkit.validation.result import ValidationReport
from tftrt_toolkit.validation.segments import EMULATION, NATIVE
from tftrt_toolkit.validation.sources import Batch, from_input_directory, from_seed
from tftrt_toolkit.validation.tflite import convert_to_tflite
from tftrt_toolkit.validation.worker import WorkerModel

TFLITE = "tflite"
_RANDOM_BATCH = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """How to measure.

    signature_key, tags: of all models. runs: timed calls of each model and batch size, after a few
    untimed ones. batch_sizes: made from the first batch by repeating and cutting it; empty: as it
    comes. tflite_precision: "FP32", "FP16" or "INT8". max_batches: for the accuracy, at most so
    many. seed: of random inputs.
    """

    signature_key: str = "serving_default"
    tags: tuple[str, ...] = ("serve",)
    runs: int = 50
    batch_sizes: tuple[int, ...] = ()
    tflite_precision: str = "FP32"
    max_batches: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        if self.runs < 1:
            raise InvalidArgumentError(f"runs={self.runs} must be at least 1")
        if any(size < 1 for size in self.batch_sizes):
            raise InvalidArgumentError(f"batch_sizes={self.batch_sizes} must be at least 1 each")


def benchmark(
    original: Path | str,
    converted: Path | str | None = None,
    inputs: InputDirectory | None = None,
    *,
    against: Sequence[str] = (),
    options: BenchmarkOptions | None = None,
) -> BenchmarkReport:
    """Time SavedModels in turns, each in its own process, and compare their outputs and sizes.

    Args:
      original: the directory of the SavedModel that all others are compared with.
      converted: the converted one; None: none.
      inputs: files for the accuracy, whose first batch is the one that is timed; None: random.
      against: "tflite" to make a TensorFlow Lite model of the original and measure that too.
      options: see BenchmarkOptions.

    Raises:
      ModelError: a model can't be loaded, or differs in its signature.
      ConversionError: TensorFlow Lite can't take the model.
      InputError, ValidationError: inputs don't fit, or a model fails on them.
    """
    options = options or BenchmarkOptions()
    unknown = set(against) - {TFLITE}
    if unknown:
        raise InvalidArgumentError(f"against={min(unknown)!r} is not known: use {TFLITE}")
    models = {"original": Path(original)}
    if converted is not None:
        models["converted"] = Path(converted)
    for directory in models.values():  # told before the work
        find_meta_graph(read_saved_model(directory), directory, options.tags)
    with tempfile.TemporaryDirectory(prefix="tftrt_benchmark_") as folder:
        if TFLITE in against:
            models[TFLITE] = Path(folder) / f"model.{TFLITE}"
            convert_to_tflite(
                original,
                models[TFLITE],
                tags=options.tags,
                signature_keys=[options.signature_key],
                precision=options.tflite_precision,
            )
        return _measure(models, inputs, options)


def _measure(
    models: Mapping[str, Path], inputs: InputDirectory | None, options: BenchmarkOptions
) -> BenchmarkReport:
    key = options.signature_key
    with contextlib.ExitStack() as stack:
        workers = {
            role: stack.enter_context(WorkerModel(path, options.tags))
            for role, path in models.items()
        }
        for worker in workers.values():
            common_keys(workers["original"], worker, (key,))
        batch = _first_batch(workers["original"], inputs, options)
        sizes = options.batch_sizes or (batch.size,)
        latencies = [
            compare_latency(list(workers.values()), key, _of_size(batch, size), options.runs)
            for size in sizes
        ]
        executed = {role: dict(Counter(one.executed.values())) for role, one in workers.items()}
    figures = tuple(
        ModelFigures(
            role=role,
            path=str(path) if role != TFLITE else "",
            bytes=size_on_disk(path),
            executed=executed[role],
            latency=tuple(found[index] for found in latencies),
            accuracy=None if role == "original" else _accuracy(models, role, inputs, options),
        )
        for index, (role, path) in enumerate(models.items())
    )
    return BenchmarkReport(
        figures,
        signature_key=key,
        random_inputs=inputs is None,
        native_only=set(executed.get("converted", {})) == {NATIVE},
    )


def _first_batch(
    original: WorkerModel, inputs: InputDirectory | None, options: BenchmarkOptions
) -> Batch:
    specs = original.signatures[options.signature_key].inputs
    if inputs is None:
        found = from_seed(specs, options.seed, 1, max(options.batch_sizes, default=_RANDOM_BATCH))
    else:
        found = from_input_directory(inputs, specs)
    first = next((batch for batch in found if batch.size), None)
    if first is None:
        raise InputError("the inputs hold no rows: give at least one file with some")
    return first


def _of_size(batch: Batch, size: int) -> Batch:
    """The batch's rows, repeated and cut so that there are `size`."""
    if size == batch.size:
        return batch
    if any(not array.ndim or len(array) != batch.size for array in batch.inputs.values()):
        raise InvalidArgumentError(
            "batch_sizes need inputs that all have the batch as their first dimension: leave it out"
        )
    rows = np.arange(size) % batch.size
    return Batch({name: array[rows] for name, array in batch.inputs.items()})


def _accuracy(
    models: Mapping[str, Path], role: str, inputs: InputDirectory | None, options: BenchmarkOptions
) -> Accuracy:
    """How the model's outputs differ, each segment as it runs on this machine."""
    source = inputs or InputDirectory(Path())
    report = validate(
        models["original"],
        models[role],
        None if inputs is None else inputs.path,
        options=ValidationOptions(
            signature_keys=(options.signature_key,),
            tags=options.tags,
            max_batches=options.max_batches,
            batch_size=source.batch_size,
            image_range=source.image_range,
            seed=options.seed,
        ),
    )
    return _summary(report)


def _summary(report: ValidationReport) -> Accuracy:
    (result,) = report.signatures
    agreements = [output.agreement.top1 for output in result.outputs if output.agreement]
    metrics = {metric.name: metric.estimate for metric in result.metrics}
    return Accuracy(
        inputs=result.inputs,
        snr_db=min(output.errors.snr_db for output in result.outputs),
        same_class=min(agreements, default=None),
        accuracy=metrics["accuracy"].converted if "accuracy" in metrics else None,
        original_accuracy=metrics["accuracy"].original if "accuracy" in metrics else None,
        emulated=sum(way == EMULATION for way in report.executed.values()),
    )
