"""A segment's ONNX, run in ONNX Runtime on the CPU, against what TensorFlow made of the segment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence, Set

import numpy as np

from tftrt_toolkit.artifacts import FrozenGraph, OnnxModel, Refusal, Sample, Segment
from tftrt_toolkit.check.blame import (
    RULE,
    native_values,
    node_in_error,
    wrong_apart,
    wrong_together,
)
from tftrt_toolkit.check.compare import (
    ACCUMULATED_BOUND,
    BOUND,
    Difference,
    difference,
)
from tftrt_toolkit.check.settled import (
    computed_tensors,
    constant_nodes,
    differences,
    run_watched,
    settled_nodes,
    shared_differences,
    tensors_around,
)
from tftrt_toolkit.errors import SessionError

_LAST_NODES = 8
Export = Callable[[FrozenGraph, Segment], OnnxModel]


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """Whether a segment's ONNX may be trusted.

    differences: the worst of each output over all samples, in the segment's order.
    bound: what the outputs had to keep.
    refusals: the nodes to keep native, where the check failed and could tell which.
    reason: a sentence where it failed, else "".
    """

    differences: tuple[Difference, ...]
    bound: float
    refusals: Mapping[str, Refusal] = dataclasses.field(default_factory=dict)
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether every output kept the bound."""
        return not self.reason

    @property
    def worst(self) -> float:
        """The greatest deviation of an output, relative to its scale."""
        return max((found.ratio for found in self.differences), default=0.0)


def check_segment(
    onnx: OnnxModel, segment: Segment, samples: Sequence[Sample], bound: float = BOUND
) -> CheckResult:
    """Compare outputs end to end; no node is blamed but one that ONNX Runtime itself names."""
    return _check_watching(onnx, segment, samples, bound, frozenset())[0]


def _check_watching(
    onnx: OnnxModel,
    segment: Segment,
    samples: Sequence[Sample],
    bound: float,
    watched: Set[str],
) -> tuple[CheckResult, Mapping[str, np.ndarray]]:
    """What `check_segment` tells; and the first sample's outputs and watched tensors."""
    outputs = [spec.name for spec in segment.outputs]
    try:
        runs = run_watched(onnx, watched | set(outputs), [sample.inputs for sample in samples])
    except SessionError as error:
        return _not_runnable(segment, bound, str(error)[:300]), {}
    worst: dict[str, Difference] = {}
    for sample, actual in zip(samples, runs, strict=True):
        for name, expected in zip(outputs, sample.outputs, strict=True):
            found = difference(name, expected, actual[name])
            if name not in worst or found.ratio > worst[name].ratio:
                worst[name] = found
    return _result(segment, worst, bound), runs[0] if runs else {}


def verify_segment(
    graph: FrozenGraph,
    segment: Segment,
    onnx: OnnxModel,
    samples: Sequence[Sample],
    export: Export,
) -> CheckResult:
    """Check a segment end to end; where it misses the bound, find the nodes to blame.

    A segment that misses BOUND is run again by TensorFlow on the CPU, since a GPU rounds float32
    products to TF32. If it misses BOUND still, it passes within ACCUMULATED_BOUND if every node
    behind the tensors that do keep BOUND keeps it too, fed with TensorFlow's own values. Otherwise
    the result's `refusals` name the nodes. `export` maps a part of the graph, as `export_segment`
    does.
    """
    # Where rounding has added up, the last nodes tell: what they take mostly keeps the bound. They
    # are watched in the first run already, lest the whole model be run again to look at them.
    late = set(segment.nodes[-_LAST_NODES:])
    around = tensors_around(graph, segment, set(segment.nodes) - late)
    result, watched = _check_watching(onnx, segment, samples, BOUND, around)
    if result.passed or not result.differences:
        return result
    sample = samples[0]
    values = native_values(graph, segment, sample, around.union(watched))
    shared = differences(values, watched)
    result = _result(segment, shared, BOUND)
    if result.passed:
        return result
    settled = settled_nodes(graph, segment, shared)
    if set(segment.nodes) - settled - late - constant_nodes(graph, segment):
        values = native_values(graph, segment, sample, around.union(computed_tensors(onnx)))
        try:
            shared = shared_differences(onnx, values, sample.inputs)
        except SessionError as error:
            return _not_runnable(segment, BOUND, str(error)[:300])
        settled = settled_nodes(graph, segment, shared)
    missing = tensors_around(graph, segment, settled) - values.keys()
    if missing:
        values = {**values, **native_values(graph, segment, sample, missing)}
    refusals = wrong_apart(graph, segment, values, export, settled)
    if not refusals and result.worst <= ACCUMULATED_BOUND:
        return CheckResult(result.differences, ACCUMULATED_BOUND)
    refusals = refusals or wrong_together(
        graph, segment, sample, native_values(graph, segment, sample), export
    )
    return dataclasses.replace(result, refusals=refusals)


def _result(segment: Segment, differences: Mapping[str, Difference], bound: float) -> CheckResult:
    found = tuple(differences[spec.name] for spec in segment.outputs)
    failed = [one for one in found if not one.ratio <= bound]
    reason = f"output {failed[0].tensor}: {failed[0].words}" if failed else ""
    return CheckResult(found, bound, reason=reason)


def _not_runnable(segment: Segment, bound: float, message: str) -> CheckResult:
    reason = f"ONNX Runtime can't run it to check it: {message}"
    node = node_in_error(message, segment)
    refusals = {node: Refusal(RULE, reason)} if node else {}
    return CheckResult((), bound, refusals, reason)
