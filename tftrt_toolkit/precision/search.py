"""Finds settings by trying them in emulation: the best calibrator, the fewest nodes kept higher."""

from __future__ import annotations

import dataclasses
import glob
import math
import statistics
from collections.abc import Sequence

from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError
from tftrt_toolkit.precision.apply import QUANTIZED, PrecisionOptions, apply_precision
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

    Nodes are ranked by the error that each adds to what it takes; the shortest list of the worst
    that meets the budget is found by bisection, then each of them is tried without.

    Raises InvalidArgumentError without batches, ConversionError if not even all nodes kept do.
    """
    if not batches or not max_error > 0:
        raise InvalidArgumentError("an accuracy budget needs max_error > 0 and batches to measure")
    search = _Search(model, precision, batches, calibration, options, measure)
    first_error = search.error(())
    if first_error <= max_error:
        return SearchResult(search.options, (), first_error, first_error, search.tried)
    ranked = search.ranked()
    low, high = 0, len(ranked)
    if search.error(tuple(ranked)) > max_error:
        raise ConversionError(
            f"{segment}: no choice of nodes meets max_error={max_error:g}: with all {len(ranked)} "
            f"kept higher the error is {search.error(tuple(ranked)):.3g}"
        )
    while high - low > 1:
        middle = (low + high) // 2
        if search.error(tuple(ranked[:middle])) <= max_error:
            high = middle
        else:
            low = middle
    kept = search.prune(ranked[:high], max_error)
    error = search.error(tuple(kept))
    overrides = tuple(
        Override(segment, glob.escape(name), search.higher, f"adds {added:.2g} relative error")
        for name, added in search.added.items()
        if name in kept
    )
    return SearchResult(search.keeping(kept), overrides, error, first_error, search.tried)


class _Search:
    def __init__(
        self,
        model: OnnxModel,
        precision: str,
        batches: Sequence[Batch],
        calibration: Calibration | None,
        options: PrecisionOptions | None,
        measure: Measure,
    ) -> None:
        self._model = prepare(model)
        self._precision = precision.upper()
        self._calibration = calibration
        self.options = options or PrecisionOptions()
        self._reference = Reference(self._model, batches, measure)
        self._known: dict[tuple[str, ...], float] = {}
        self.added: dict[str, float] = {}
        self.quantized = self._precision in (*QUANTIZED, "INT4")
        self.higher = self.options.rest if self.quantized else "FP32"

    @property
    def tried(self) -> int:
        return len(self._known)

    def keeping(self, names: Sequence[str]) -> PrecisionOptions:
        """The options with some nodes kept higher."""
        patterns = tuple(glob.escape(name) for name in names)
        field = "keep_float" if self.quantized else "keep_fp32"
        whole = getattr(self.options, field) + patterns
        return dataclasses.replace(self.options, **{field: whole})

    def error(self, names: tuple[str, ...]) -> float:
        """The error with some nodes kept higher."""
        key = tuple(sorted(names))
        if key not in self._known:
            typed = apply_precision(
                self._model, self._precision, self._calibration, self.keeping(names)
            )
            self._known[key] = self._reference.error(typed)
        return self._known[key]

    def ranked(self) -> list[str]:
        """The nodes that could be kept, those that add most error first."""
        typed = apply_precision(self._model, self._precision, self._calibration, self.options)
        errors = tensor_errors(self._model, typed, self._reference.batches[0])
        graph = Graph(self._model)
        nodes = graph.nodes
        if self.quantized:
            rules = QuantizeOptions(
                convolutions=self.options.convolutions, attention=self.options.attention
            )
            nodes = [site.node for site in find_sites(graph, rules)[0]]
        added = {}
        for node in nodes:
            made = [errors[name] for name in node.output if name in errors]
            if made and node.name:
                taken = max((errors.get(name, 0.0) for name in node.input), default=0.0)
                added[node.name] = _gain(max(made), taken)
        self.added = dict(sorted(added.items(), key=lambda item: -item[1]))
        return list(self.added)

    def prune(self, names: Sequence[str], max_error: float) -> list[str]:
        """Leave out each node without which the budget is met as well, the least guilty first."""
        kept = list(names)
        for name in list(reversed(names))[:_MOST_PRUNED]:
            fewer = [one for one in kept if one != name]
            if self.error(tuple(fewer)) <= max_error:
                kept = fewer
        return kept


def _gain(made: float, taken: float) -> float:
    """Error that a node adds: all of it where it overflows, none where it hands infinity on."""
    if math.isinf(made):
        return 0.0 if math.isinf(taken) else math.inf
    return max(made - taken, 0.0)
