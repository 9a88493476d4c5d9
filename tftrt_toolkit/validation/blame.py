"""Which segment, and which node in it, makes a converted model differ; and what to do about it.

Original and converted model run on the same inputs, natively and watched. A segment is judged by
its outputs on identical inputs: its native function against the original's, and its typed ONNX,
emulated on the CPU, against the same. What differs at a segment's inputs was lost before it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes, FrozenGraph, OnnxModel, Sample, Segment
from tftrt_toolkit.assemble import assemble_function
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import AssetError, ExportError, SessionError
from tftrt_toolkit.export import export_segment
from tftrt_toolkit.graph import node_of
from tftrt_toolkit.onnx_model import run_session, to_session
from tftrt_toolkit.precision import prepare
from tftrt_toolkit.precision.emulate import emulate
from tftrt_toolkit.records import Record
from tftrt_toolkit.validation.advice import Graphs, advised
from tftrt_toolkit.validation.deviation import snr_of_each
from tftrt_toolkit.validation.models import LocalModel
from tftrt_toolkit.validation.onnx_tensors import Loss, tensor_losses, tensorflow_node
from tftrt_toolkit.validation.result import Finding
from tftrt_toolkit.validation.segments import (
    Engine,
    SegmentedOriginal,
    engines_of,
    segment_original,
)
from tftrt_toolkit.validation.sources import Batch
from tftrt_toolkit.validation.weights import changed_weights

# Tensors that agree better than this were computed alike.
SAME_DB = 100.0
_MAX_INPUTS = 16
_MAX_CALLS = 2
_LOCATED_SEGMENTS = 3
_TRIED_NODES = 6


@dataclasses.dataclass(frozen=True)
class _Watched:
    """One segment: calls in the original, the same once more, and in the converted model."""

    segment: Segment
    engine: Engine
    original: tuple[Sample, ...]
    repeated: tuple[Sample, ...]
    converted: tuple[Sample, ...]


def find_blame(
    original: Path,
    converted: Path,
    key: str,
    batch: Batch,
    precision: str,
    min_snr_db: float,
    tags: Sequence[str] = ("serve",),
) -> tuple[Finding, ...]:
    """The segments, the worst first, and what is known of why.

    Segments whose SNR is below `min_snr_db` are searched for the node. Raises ModelError if the
    converted model carries no report or doesn't belong to the original.
    """
    cut = segment_original(original, converted, key, tags)
    engines = engines_of(converted, tags)
    watched = _watch(cut, engines, converted, key, batch, tags)
    findings = []
    for one in watched:
        finding = _native_finding(one, cut, original, converted)
        findings.append(finding or _engine_finding(one))
    findings.sort(key=lambda finding: finding.snr_db)
    by_name = {one.segment.name: one for one in watched}
    located = [
        _locate(finding, by_name[finding.segment], cut, precision, min_snr_db)
        if index < _LOCATED_SEGMENTS and finding.source == "engine" and finding.snr_db < min_snr_db
        else finding
        for index, finding in enumerate(findings)
    ]
    return (*_before_segments(watched), *located)


def _watch(
    cut: SegmentedOriginal,
    engines: Mapping[str, Engine],
    converted: Path,
    key: str,
    batch: Batch,
    tags: Sequence[str],
) -> list[_Watched]:
    by_graph: dict[str, list[Segment]] = {}
    for segment in cut.segments:
        by_graph.setdefault(segment.graph, []).append(segment)
    attributes = EngineAttributes(precision_mode="FP32", dynamic_shape=True)
    again = assemble_function(cut.frozen, by_graph, attributes)
    model = LocalModel(converted, tuple(tags))
    few = _first_inputs(batch, model.signatures[key].inputs)
    resources = {again.resources[segment.name]: segment for segment in cut.segments}
    tensors = {name: tf.constant(value) for name, value in few.items()}
    before = _observe(resources, lambda: again.function(**tensors))
    repeated = _observe(resources, lambda: again.function(**tensors))
    pairs = [(segment, engines[segment.name.rpartition("/")[2]]) for segment in cut.segments]
    after = _observe(
        {engine.resource: segment for segment, engine in pairs}, lambda: model.run(key, few)
    )
    watched = [
        _Watched(
            segment,
            engine,
            tuple(before[again.resources[segment.name]].samples),
            tuple(repeated[again.resources[segment.name]].samples),
            tuple(after[engine.resource].samples),
        )
        for segment, engine in pairs
    ]
    return [one for one in watched if one.original and one.converted]


def _first_inputs(batch: Batch, specs: Mapping[str, tf.TensorSpec]) -> dict[str, np.ndarray]:
    """The first few of a batch, where the signature takes batches of any size."""
    if any(spec.shape.rank == 0 or spec.shape[:1].is_fully_defined() for spec in specs.values()):
        return dict(batch.inputs)
    return {name: value[:_MAX_INPUTS] for name, value in batch.inputs.items()}


def _observe(resources: Mapping[str, Segment], run: Any) -> dict[str, Record]:
    records = {name: Record(segment, _MAX_CALLS) for name, segment in resources.items()}
    with runtime.observe({name: record.add for name, record in records.items()}):
        run()
    return records


def _before_segments(watched: Sequence[_Watched]) -> tuple[Finding, ...]:
    """A finding for the first tensor that reaches a segment changed, if any does.

    Only segments in front of which no other segment changed anything are looked at.
    """
    for one in watched:
        calls = list(zip(one.original, one.repeated, one.converted, strict=False))
        for left, again, right in calls:
            for spec, *values in zip(
                one.segment.inputs, left.inputs, again.inputs, right.inputs, strict=True
            ):
                finding = _changed_input(one.segment, spec.name, *values)
                if finding is not None:
                    return (finding,)
        if any(min(snr_of_each(left.outputs, right.outputs)) < SAME_DB for left, _, right in calls):
            return ()
    return ()


def _changed_input(
    segment: Segment, tensor: str, left: np.ndarray, again: np.ndarray, right: np.ndarray
) -> Finding | None:
    """A finding if a tensor differs that the original repeats."""
    (snr,) = snr_of_each([left], [right])
    if snr >= SAME_DB or snr_of_each([left], [again])[0] < SAME_DB:
        return None
    advice = f"{tensor} differs before it reaches {segment.name}: TensorFlow's own nodes differ"
    return Finding("(TensorFlow)", snr, "native", node_of(tensor), tensor, advice)


def _native_finding(
    one: _Watched, cut: SegmentedOriginal, original: Path, converted: Path
) -> Finding | None:
    """A finding if the segment's native function isn't the original's."""
    worst = math.inf
    for left, right in zip(one.original, one.converted, strict=False):
        if min(snr_of_each(left.inputs, right.inputs), default=math.inf) >= SAME_DB:
            worst = min([worst, *snr_of_each(left.outputs, right.outputs)])
    if worst >= SAME_DB:
        return None
    graph = cut.graphs[one.segment.name]
    weights = changed_weights(graph, one.segment, original, converted)
    takers = [
        node.name
        for node in graph.graph_def.node
        if node.name in one.segment.nodes
        and any(name.partition(":")[0] in weights for name in node.input)
    ]
    advice = "its TensorFlow function isn't the original's: convert the original again"
    if weights:
        advice = f"weight {weights[0]} isn't the original's: convert the original again"
    return Finding(
        segment=one.segment.name,
        snr_db=worst,
        source="weights",
        node=takers[0] if takers else "",
        tensor=weights[0] if weights else "",
        advice=advice,
    )


def _engine_finding(one: _Watched) -> Finding:
    """The SNR of the typed ONNX on the original's own inputs."""
    if one.engine.asset is None:
        return Finding(one.segment.name, math.inf, "engine", advice="it has no engine")
    try:
        model = emulate(AssetFile.open(one.engine.asset).load_onnx())
        session = to_session(model, weights_as_inputs=True, optimize=False)
        snr = min(
            min(snr_of_each(sample.outputs, run_session(session, model, sample.inputs)))
            for sample in one.original
        )
    except (AssetError, SessionError) as error:
        return Finding(one.segment.name, -math.inf, "engine", advice=str(error))
    return Finding(one.segment.name, snr, "engine")


def _locate(
    finding: Finding, one: _Watched, cut: SegmentedOriginal, precision: str, min_snr_db: float
) -> Finding:
    """The finding with the node that loses most, and what helps."""
    if one.engine.asset is None or finding.advice:
        return finding
    sample = one.original[0]
    try:
        reference = export_segment(cut.graphs[one.segment.name], one.segment)
        typed = AssetFile.open(one.engine.asset).load_onnx()
        if precision != "FP32":
            reference = prepare(reference)
        engine = emulate(typed)
        losses = tensor_losses(reference, engine, sample.inputs, precision)
    except (ExportError, SessionError, AssetError) as error:
        return dataclasses.replace(finding, advice=f"its nodes can't be compared: {error}")
    losses = sorted((loss for loss in losses if loss.drop_db > 0), key=lambda loss: -loss.drop_db)
    if losses:
        node = _tensorflow_node(losses[0], reference, cut.graphs[one.segment.name], one.segment)
        finding = dataclasses.replace(finding, node=node, tensor=losses[0].tensor)
    nodes = list(dict.fromkeys(loss.node for loss in losses[:_TRIED_NODES]))
    return advised(finding, Graphs(reference, engine), sample, nodes, precision, min_snr_db)


def _tensorflow_node(loss: Loss, reference: OnnxModel, graph: FrozenGraph, segment: Segment) -> str:
    """The TensorFlow node that a loss belongs to; the ONNX node if there is no such name.

    Optimizers name some nodes anew; then the names of what such a node takes still tell.
    """
    known = set(segment.nodes)
    onnx_node = next(node for node in reference.proto.graph.node if node.name == loss.node)
    nodes = {node.name: node for node in graph.graph_def.node if node.name in known}
    for candidate in (loss.tensor, loss.node, *reversed(onnx_node.input)):
        name = tensorflow_node(candidate, known - set(graph.weights))
        while name and nodes[name].op == "Identity" and node_of(nodes[name].input[0]) in nodes:
            name = node_of(nodes[name].input[0])
        if name:
            return name
    return loss.node
