"""Finds settings by trying them in emulation: the best calibrator, the fewest nodes kept higher."""

from __future__ import annotations

import dataclasses
import glob
import math
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError
from tftrt_toolkit.precision.apply import (
    QUANTIZED,
    PrecisionOptions,
    apply_precision,
    known_precision,
)
from tftrt_toolkit.precision.calibration import Calibration
from tftrt_toolkit.precision.compare import (
    Batch,
    Measure,
    Reference,
    relative_error,
    tensor_errors,
)
from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.precision.precision_file import Override
from tftrt_toolkit.precision.prepare import prepare
from tftrt_toolkit.precision.quantize_rules import QuantizeOptions, find_sites
from tftrt_toolkit.precision.thresholds import AUTO, CALIBRATORS

Name = TypeVar("Name", bound=Hashable)
# Kept nodes are tried without, one by one, at most so often.
_MOST_PRUNED = 24


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found.

    options: with the nodes to keep higher. overrides: the same as lines of a precision file.
    error: with them. first_error: without. tried: how many typed models were run.
    """

    options: PrecisionOptions
    overrides: tuple[Override, ...]
    error: float
    first_error: float
    tried: int


def resolve_calibrator(
    model: OnnxModel,
    precision: str,
    calibration: Calibration,
    batches: Sequence[Batch],
    options: PrecisionOptions,
) -> PrecisionOptions:
    """The options with a calibrator in the place of "auto".

    It is the one whose typed model has the least median error of a sample, in emulation. Raises
    InvalidArgumentError without batches: a calibration file alone can't tell.
    """
    if options.calibrator != AUTO:
        return options
    if not batches:
        raise InvalidArgumentError(
            "calibrator 'auto' compares results on data: give a calibration function, or name one "
            f"of {', '.join(CALIBRATORS)}"
        )
    reference = Reference(model, batches, relative_error)
    errors = {}
    for name in CALIBRATORS:
        tried = dataclasses.replace(options, calibrator=name)
        typed = apply_precision(model, precision, calibration, tried)
        errors[name] = statistics.median(reference.sample_errors(typed))
    return dataclasses.replace(options, calibrator=min(errors, key=errors.__getitem__))


def meet_budget(
    model: OnnxModel,
    precision: str,
    max_error: float,
    batches: Sequence[Batch],
    *,
    segment: str = "*",
    calibration: Calibration | None = None,
    options: PrecisionOptions | None = None,
    measure: Measure = relative_error,
) -> SearchResult:
    """Keep as few nodes in higher precision as it takes for an error of at most `max_error`.

    Raises InvalidArgumentError without batches, ConversionError if not even all nodes kept do.
    """
    if not batches:
        raise InvalidArgumentError("an accuracy budget needs batches to measure the error on")
    model, precision = prepare(model), known_precision(precision)
    options = options or PrecisionOptions()
    reference = Reference(model, batches, measure)

    def error(names: tuple[str, ...]) -> float:
        kept = keeping(options, precision, names)
        return reference.error(apply_precision(model, precision, calibration, kept))

    def rank() -> dict[str, float]:
        return added_errors(model, precision, calibration, options, batches[0])

    found = fewest(rank, error, max_error, segment)
    overrides = tuple(
        override(segment, name, options, precision, found.added[name]) for name in found.kept
    )
    kept = keeping(options, precision, found.kept)
    return SearchResult(kept, overrides, found.error, found.first_error, found.tried)


@dataclasses.dataclass(frozen=True)
class Fewest(Generic[Name]):
    """The names that were kept, what each candidate adds, and the error with and without them."""

    kept: tuple[Name, ...]
    added: Mapping[Name, float]
    error: float
    first_error: float
    tried: int


def fewest(
    rank: Callable[[], Mapping[Name, float]],
    error: Callable[[tuple[Name, ...]], float],
    max_error: float,
    what: str,
) -> Fewest[Name]:
    """The fewest names to keep for an error of at most `max_error`.

    rank: gives what each candidate adds; called only if the error without any is too large. The
    shortest list of the worst that meets the budget is found by bisection, then each of them is
    tried without. Raises InvalidArgumentError if `max_error` isn't positive, ConversionError,
    which names `what`, if not even all candidates do.
    """
    if not max_error > 0:
        raise InvalidArgumentError(f"max_error={max_error:g} must be positive")
    known: dict[frozenset[Name], float] = {}

    def measured(names: Sequence[Name]) -> float:
        key = frozenset(names)
        if key not in known:
            known[key] = error(tuple(names))
        return known[key]

    first_error = measured(())
    if first_error <= max_error:
        return Fewest((), {}, first_error, first_error, len(known))
    added = dict(sorted(rank().items(), key=lambda item: -item[1]))
    ranked = list(added)
    if not measured(ranked) <= max_error:
        raise ConversionError(
            f"{what}: no choice of nodes meets max_error={max_error:g}: with all {len(ranked)} "
            f"kept higher the error is {measured(ranked):.3g}"
        )
    low, high = 0, len(ranked)
    while high - low > 1:
        middle = (low + high) // 2
        if measured(ranked[:middle]) <= max_error:
            high = middle
        else:
            low = middle
    kept = ranked[:high]
    for name in ranked[:high][: -_MOST_PRUNED - 1 : -1]:  # the least guilty first
        fewer = [one for one in kept if one != name]
        if measured(fewer) <= max_error:
            kept = fewer
    return Fewest(tuple(kept), added, measured(kept), first_error, len(known))


def keeping(options: PrecisionOptions, precision: str, names: Sequence[str]) -> PrecisionOptions:
    """The options with some nodes kept higher."""
    patterns = tuple(glob.escape(name) for name in names)
    field = "keep_float" if _quantizes(precision) else "keep_fp32"
    return dataclasses.replace(options, **{field: getattr(options, field) + patterns})


def override(
    segment: str, name: str, options: PrecisionOptions, precision: str, added: float
) -> Override:
    """The line of a precision file that keeps a node higher."""
    higher = options.rest if _quantizes(precision) else "FP32"
    return Override(segment, glob.escape(name), higher, f"adds {added:.2g} relative error")


def added_errors(
    model: OnnxModel,
    precision: str,
    calibration: Calibration | None,
    options: PrecisionOptions,
    batch: Batch,
) -> dict[str, float]:
    """Node that could be kept higher -> relative error that it adds to what it takes."""
    model = prepare(model)
    typed = apply_precision(model, precision, calibration, options)
    errors = tensor_errors(model, typed, batch)
    graph = Graph(model)
    nodes = graph.nodes
    if _quantizes(precision):
        rules = QuantizeOptions(
            convolutions=options.convolutions, attention=options.attention, skip=options.keep_float
        )
        nodes = [site.node for site in find_sites(graph, rules)[0]]
    added = {}
    for node in nodes:
        made = [errors[name] for name in node.output if name in errors]
        if made and node.name:
            taken = max((errors.get(name, 0.0) for name in node.input), default=0.0)
            added[node.name] = _gain(max(made), taken)
    return added


def _quantizes(precision: str) -> bool:
    return precision in (*QUANTIZED, "INT4")


def _gain(made: float, taken: float) -> float:
    """Error that a node adds: all of it where it overflows, none where it hands infinity on."""
    if math.isinf(made):
        return 0.0 if math.isinf(taken) else math.inf
    return max(made - taken, 0.0)
