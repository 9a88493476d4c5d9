"""Conversion parameters: the stock contract, and this toolkit's own options beside it."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.inputs import DataSource

DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES = sys.maxsize - 512

PROFILE_STRATEGIES = ("Range", "Optimal", "Range+Optimal", "ImplicitBatchModeCompatible")
FLAVOURS = ("auto", "tensorrt", "tensorrt_rtx")


class TrtPrecisionMode:
    """Precision modes; the lower-case spelling of each is taken too."""

    FP32 = "FP32"
    FP16 = "FP16"
    INT8 = "INT8"
    BF16 = "BF16"
    FP8 = "FP8"
    INT4 = "INT4"

    @staticmethod
    def supported_precision_modes() -> list[str]:
        """All accepted spellings."""
        modes = [mode for mode in vars(TrtPrecisionMode) if mode.isupper()]
        return modes + [mode.lower() for mode in modes]


# A namedtuple, not a dataclass: users of the stock converter call `._replace` on it.
TrtConversionParams = namedtuple(
    "TrtConversionParams",
    [
        "max_workspace_size_bytes",
        "precision_mode",
        "minimum_segment_size",
        "maximum_cached_engines",
        "use_calibration",
        "allow_build_at_runtime",
    ],
    defaults=(
        DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
        TrtPrecisionMode.FP32,
        3,
        1,
        True,
        True,
    ),
)
DEFAULT_TRT_CONVERSION_PARAMS = TrtConversionParams()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledMetric:
    """A metric over labelled data whose loss `ToolkitOptions.max_error` limits.

    function: (labels, outputs) -> a value for each input, or one for the batch; greater is better.
    data: an input function that gives pairs of inputs and labels, or a directory of files with
      labels, as `validate` takes them. It is read once and held in memory.
    output: the output that the function gets; None: the signature's only one.
    """

    function: Callable[[np.ndarray, np.ndarray], Any]
    data: DataSource
    output: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolkitOptions:
    """What this toolkit offers beyond the stock converter.

    engine: which TensorRT builds: "tensorrt_rtx" (no GPU needed), "tensorrt" (for the GPU at hand),
      "auto" (TensorRT where it and a GPU are there, else TensorRT-RTX, else none).
    compute_capabilities: targets of ahead-of-time builds, e.g. ("8.6", "8.9"); empty: the builder's
      default set.
    native_ops, native_nodes: op types, and `fnmatch` patterns of node names, to keep native.
    max_engines: at most so many engines, the largest survive; 0: no limit. None: the environment
      variable TF_TRT_MAX_ALLOWED_ENGINES, else 20.
    input_shapes: signature input name -> ShapeRange (min, opt, max): engines for these shapes are
      built by `convert()` itself.
    require_full_conversion: a node that computes and stays native is an error.
    cache_dir: built plans are kept here and used again; None: no cache.
    signature_keys: signatures to convert; None: the one that the stock argument names.
    check: compare each segment's ONNX with its native function before it may become an engine.
    calibrator: how thresholds come from calibration data: "sample_max", "max", "percentile",
      "entropy", "mse", or "auto", which tries each of them in emulation.
    calibration_file: take ranges from this file, which `save_calibration_file` wrote.
    rest_precision: what runs beside quantized nodes: "FP16", "BF16" or "FP32".
    quantize_attention: quantize the products of two activations too.
    precision_file: nodes to keep in a higher precision, a line each (docs/precision.md).
    max_error: keep as few nodes in a higher precision as it takes for the worst output's relative
      root mean squared error, in emulation on calibration data, to be at most this. metric: measure
      the loss of this metric instead.
    typed_fallback: let the segments' native functions round as their engines do, so that a fallback
      gives the engine's numbers. (What convert() returned doesn't, if calibration waits for build.)
    sparse_weights: let the builder use kernels for weights of 2:4 sparsity, and report which are.
    report_kernels: build quantized segments once more to tell which of their quantized nodes
      reached an INT8 or FP8 kernel.
    show_progress: draw the stage at work on a terminal's stderr.
    """

    engine: str = "auto"
    compute_capabilities: Sequence[str] = ()
    native_ops: Sequence[str] = ()
    native_nodes: Sequence[str] = ()
    max_engines: int | None = None
    input_shapes: Mapping[str, ShapeRange] = dataclasses.field(default_factory=dict)
    require_full_conversion: bool = False
    cache_dir: Path | None = None
    signature_keys: Sequence[str] | None = None
    check: bool = True
    calibrator: str = "sample_max"
    calibration_file: Path | str | None = None
    rest_precision: str = "FP16"
    quantize_attention: bool = False
    precision_file: Path | str | None = None
    max_error: float | None = None
    metric: LabelledMetric | None = None
    typed_fallback: bool = False
    sparse_weights: bool = False
    report_kernels: bool = False
    show_progress: bool = False

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        if self.engine not in FLAVOURS:
            raise InvalidArgumentError(
                f"engine={self.engine!r} is not known: use one of {', '.join(FLAVOURS)}"
            )
        if isinstance(self.compute_capabilities, str) or isinstance(self.signature_keys, str):
            raise InvalidArgumentError(
                "compute_capabilities and signature_keys take a sequence of strings, not one string"
            )
        for capability in self.compute_capabilities:
            major, dot, minor = str(capability).partition(".")
            if not (dot and major.isdigit() and minor.isdigit()):
                raise InvalidArgumentError(
                    f"compute capability {capability!r} is not of the form '8.9': write MAJOR.MINOR"
                )
        for name, shapes in self.input_shapes.items():
            check_range(name, shapes)
        if self.max_error is not None and not self.max_error > 0:
            raise InvalidArgumentError(f"max_error={self.max_error:g} must be positive")
        if self.metric is not None and self.max_error is None:
            raise InvalidArgumentError("a metric needs max_error, the loss that it may have")


def check_range(name: str, shapes: ShapeRange) -> None:
    """Raise InvalidArgumentError unless 0 <= min <= opt <= max, all of one rank."""
    ranks = {len(shapes.min), len(shapes.opt), len(shapes.max)}
    ordered = all(
        0 <= low <= best <= high
        for low, best, high in zip(shapes.min, shapes.opt, shapes.max, strict=False)
    )
    if len(ranks) != 1 or not ordered:
        raise InvalidArgumentError(
            f"shape range of input {name!r} needs 0 <= min <= opt <= max of one rank, "
            f"got min={shapes.min}, opt={shapes.opt}, max={shapes.max}"
        )


@dataclasses.dataclass(frozen=True)
class Environment:
    """Settings that the stock converter reads from the environment; ours reads them here only."""

    denylist: tuple[str, ...]
    max_engines: int
    detailed_report: str

    @classmethod
    def read(cls) -> Environment:
        """Read TF_TRT_OP_DENYLIST, TF_TRT_MAX_ALLOWED_ENGINES and TF_TRT_SHOW_DETAILED_REPORT.

        Raises InvalidArgumentError if the number of engines is none.
        """
        text = os.environ.get("TF_TRT_MAX_ALLOWED_ENGINES", "20")
        try:
            max_engines = int(text)
        except ValueError as error:
            raise InvalidArgumentError(
                f"TF_TRT_MAX_ALLOWED_ENGINES={text!r} is no whole number: "
                "set the most engines allowed, or 0 for no limit"
            ) from error
        denied = os.environ.get("TF_TRT_OP_DENYLIST", "").split(",")
        return cls(
            denylist=tuple(op.strip() for op in denied if op.strip()),
            max_engines=max(max_engines, 0),
            detailed_report=os.environ.get("TF_TRT_SHOW_DETAILED_REPORT", ""),
        )


def check_params(params: TrtConversionParams) -> None:
    """Raise InvalidArgumentError where the stock converter raises ValueError."""
    modes = TrtPrecisionMode.supported_precision_modes()
    if params.precision_mode not in modes:
        raise InvalidArgumentError(
            f"precision mode {params.precision_mode!r} is not supported: "
            f"use one of {', '.join(modes)}"
        )
    if params.minimum_segment_size <= 0 and params.minimum_segment_size != -1:
        raise InvalidArgumentError(
            f"minimum_segment_size={params.minimum_segment_size} must be positive, or -1 to "
            "convert only functions marked `_tftrt_convert_function`"
        )
    if params.maximum_cached_engines < 1:
        raise InvalidArgumentError(
            f"maximum_cached_engines={params.maximum_cached_engines} must be at least 1"
        )


def resolve_strategy(strategy: str | None) -> str:
    """The profile strategy's usual spelling; None means "Range". Raises InvalidArgumentError."""
    if strategy is None:
        return "Range"
    for known in PROFILE_STRATEGIES:
        if known.lower() == strategy.lower():
            return known
    raise InvalidArgumentError(
        f"profile strategy {strategy!r} is not known: use one of {', '.join(PROFILE_STRATEGIES)}"
    )
