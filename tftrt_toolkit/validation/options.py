"""How to validate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.validation.tolerances import default_tolerance


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
    emulate: where no engine runs a segment here and there is no GPU, run its typed ONNX, emulated,
      in its place; False: run what runs here, which is TensorFlow alone on such a machine.
    blame: find the segments and nodes that add most error (SavedModel directories only).
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
    emulate: bool = True
    blame: bool = False
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
