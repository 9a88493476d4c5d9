"""What becomes of one case in the toolkit's chain of stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tests.op_matrix import arrays, elementwise, layers, networks
from tests.op_matrix.case import Case
from tests.segments import as_arrays, freeze
from tftrt_toolkit.artifacts import FrozenGraph, Sample, Segment
from tftrt_toolkit.check import verify_segment
from tftrt_toolkit.errors import ExportError
from tftrt_toolkit.export import export_segment
from tftrt_toolkit.segment import SegmentRules, segment_graph
from tftrt_toolkit.support import SupportRules, support_map

CASES: dict[str, Case] = elementwise.CASES | arrays.CASES | networks.CASES | layers.CASES
# One node makes a segment, so that what runs natively is what was refused.
RULES = SegmentRules(minimum_segment_size=1, max_engines=0)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How far a case comes.

    mapped: its whole graph has an ONNX form that gives TensorFlow's result.
    converts: no node that computes is refused, and each segment gives TensorFlow's result.
    wrong: a form that was accepted gives another result: what, else "".
    reason: why it doesn't convert, else "".
    """

    mapped: bool
    converts: bool
    wrong: str = ""
    reason: str = ""


def run_case(example: Case) -> Outcome:
    """Take a case through freezing, support, segmenting, export and check."""
    graph, whole = freeze(example.function, example.specs)
    expected = as_arrays(example.function(*map(tf.constant, example.inputs)))
    unmapped, wrong = _fault(graph, whole, Sample(example.inputs, tuple(expected)))
    refusals = support_map(graph, SupportRules(dynamic_shape=True))
    segments = segment_graph(graph, refusals, RULES, 0).segments
    ops = {node.name: node.op for node in graph.graph_def.node}
    native = [name for name in whole.nodes if name in refusals and ops[name] != "Identity"]
    reason = f"{ops[native[0]]}: {refusals[native[0]].reason}" if native else ""
    if not segments and not native:
        reason = "nothing is left to compute"
    if segments and not _is_whole(segments, whole, ops):
        crossing = [spec.name for item in segments for spec in (*item.inputs, *item.outputs)]
        values = _values(graph, whole, example.inputs, list(dict.fromkeys(crossing)))
        for segment in segments:
            missing, fault = _fault(graph, segment, _sample(segment, values))
            reason, wrong = reason or missing, wrong or fault
    elif not reason:
        reason = unmapped
    return Outcome(not unmapped, not reason and not wrong, wrong, reason)


def _fault(graph: FrozenGraph, segment: Segment, sample: Sample) -> tuple[str, str]:
    """Why the segment has no ONNX form that runs, and how its result differs."""
    try:
        onnx = export_segment(graph, segment)
    except ExportError as error:
        return error.reason, ""
    result = verify_segment(graph, segment, onnx, [sample], export_segment)
    if result.passed:
        return "", ""
    return result.reason, result.reason if result.differences else ""


def _is_whole(segments: tuple[Segment, ...], whole: Segment, ops: Mapping[str, str]) -> bool:
    """Whether one segment has all that computes: checked already."""
    left = set(whole.nodes) - set(segments[0].nodes)
    return len(segments) == 1 and {ops[name] for name in left} <= {"Identity", "Const"}


def _values(
    graph: FrozenGraph, whole: Segment, inputs: tuple[np.ndarray, ...], tensors: list[str]
) -> dict[str, np.ndarray]:
    with tf.Graph().as_default() as native, tf.compat.v1.Session(graph=native) as session:
        tf.import_graph_def(graph.graph_def, name="")
        feeds = {f"{name}:0": weight.value for name, weight in graph.weights.items()}
        feeds |= {spec.name: v for spec, v in zip(whole.inputs, inputs, strict=True)}
        return dict(zip(tensors, map(np.asarray, session.run(tensors, feeds)), strict=True))


def _sample(segment: Segment, values: Mapping[str, np.ndarray]) -> Sample:
    return Sample(
        tuple(values[spec.name] for spec in segment.inputs),
        tuple(values[spec.name] for spec in segment.outputs),
    )
