"""The flow of a conversion, written once: which stage follows which, and what travels between.

    freeze -> support -> segment -> assemble -> (run once, observed) | export -> check

A node that the export or the check blames is refused with the reason, and the graph is segmented
again without it: a bad node costs its own place, never the model. `engines.py` goes on from there.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import (
    FrozenGraph,
    OnnxModel,
    Refusal,
    Rounding,
    Sample,
    Segment,
    Segmentation,
)
from tftrt_toolkit.assemble import ConvertedFunction, EngineAttributes, assemble_function
from tftrt_toolkit.background import beside
from tftrt_toolkit.check import verify_segment
from tftrt_toolkit.errors import InputError, InternalError, error_line
from tftrt_toolkit.export import ExportError, export_segment
from tftrt_toolkit.freeze import FrozenFunction, freeze_function
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.records import Record
from tftrt_toolkit.segment import SegmentRules, segment_graph
from tftrt_toolkit.settings import Settings
from tftrt_toolkit.subgraph import build_subgraph, run_subgraph
from tftrt_toolkit.support import SupportRules, support_map
from tftrt_toolkit.trials import guessed_batches, segment_inputs

# Each round refuses at least one node more; most models need one or two.
_MAX_ROUNDS = 8
_CHECKED_SAMPLES = 2

Refusals = dict[str, dict[str, Refusal]]  # graph -> node -> why
Batch = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A segment whose ONNX agrees with TensorFlow: it may become an engine."""

    segment: Segment
    onnx: OnnxModel
    record: Record


@dataclasses.dataclass(frozen=True)
class ConvertedSignature:
    """One signature after the check: a live function whose engines are yet to be built.

    trial_batches: the made-up inputs that it ran on, if it did.
    """

    key: str
    frozen: FrozenFunction
    segmentations: Mapping[str, Segmentation]
    converted: ConvertedFunction
    candidates: tuple[Candidate, ...]
    trial_batches: tuple[Batch, ...] = ()

    @property
    def graphs(self) -> dict[str, FrozenGraph]:
        """The signature's graph and all bodies below it, by name."""
        return {graph.name: graph for graph in walk(self.frozen.graph)}


HeadStart = Callable[[ConvertedSignature], Callable[[], object]]


@dataclasses.dataclass(frozen=True)
class _Blame:
    graph: str
    nodes: Mapping[str, Refusal]


_Verdicts = dict[tuple[str, tuple[str, ...]], OnnxModel | _Blame]  # by graph and nodes


def walk(graph: FrozenGraph) -> Iterator[FrozenGraph]:
    """A graph and, behind it, all bodies that it calls, directly or not."""
    yield graph
    for body in graph.bodies.values():
        yield from walk(body)


class SignaturePipeline:
    """Takes one signature from freeze to check.

    function: the signature's ConcreteFunction. first_graph: counter of its first graph, for names.
    graphs: the signature's graph and all bodies below it, by name.
    """

    def __init__(
        self,
        key: str,
        function: Any,
        settings: Settings,
        stages: Stages,
        first_graph: int,
        attributes: EngineAttributes,
    ) -> None:
        self._key = key
        self._settings = settings
        self._stages = stages
        self._first_graph = first_graph
        self._attributes = attributes
        with stages.stage("freeze", key):
            only_marked = settings.params.minimum_segment_size == -1
            self._frozen = freeze_function(function, key, keep_marked=only_marked)
        self.graphs = {graph.name: graph for graph in walk(self._frozen.graph)}
        self._guesses = list(guessed_batches(function, settings.options.input_shapes))
        self._refused: Refusals = defaultdict(dict)
        self._exported: _Verdicts = {}
        self._verdicts: _Verdicts = {}

    def refuse(self, segment: Segment, nodes: Sequence[str], refusal: Refusal) -> None:
        """Keep `nodes` of a segment native (all of it, if none is its own); then `run` again."""
        blame = _blame(segment, dict.fromkeys(nodes, refusal), refusal)
        self._refused[blame.graph].update(blame.nodes)

    def run(self, head_start: HeadStart | None = None) -> ConvertedSignature:
        """Segment, export and check until every segment that is left agrees with TensorFlow.

        head_start: called before the first check, with what is returned if nothing is blamed; what
          it returns is called while the check runs.
        """
        for round_index in range(_MAX_ROUNDS):
            segmentations = self._segment()
            converted = self._assemble(segmentations)
            with beside(self._observe, converted) as observed:
                self._export(converted.segments)
                records = observed.result()
            signature = self._signature(segmentations, converted, records)
            if signature is None or head_start is None or round_index:
                blames = self._examine(records)
            else:
                meanwhile = head_start(signature)
                with beside(self._examine, records, True) as examined:
                    meanwhile()
                blames = examined.result()
            if signature is not None and not blames:
                return signature
            for blame in blames:
                self._refused[blame.graph].update(blame.nodes)
            logging.info("round %d: %d segments to mend", round_index + 1, len(blames))
        raise InternalError(f"{self._key}: segments still fail after {_MAX_ROUNDS} rounds")

    def _segment(self) -> dict[str, Segmentation]:
        settings, options = self._settings, self._settings.options
        segment_rules = SegmentRules(
            minimum_segment_size=settings.params.minimum_segment_size,
            max_engines=settings.max_engines,
        )
        segmentations = {}
        for index, (name, graph) in enumerate(self.graphs.items(), self._first_graph):
            with self._stages.stage("support", name):
                support_rules = SupportRules(
                    dynamic_shape=settings.dynamic_shape,
                    native_ops=frozenset(options.native_ops),
                    native_nodes=tuple(options.native_nodes),
                    denylist=frozenset(settings.environment.denylist),
                    extra=self._refused[name],
                )
                refusals = support_map(graph, support_rules)
            with self._stages.stage("segment", name):
                segmentations[name] = segment_graph(graph, refusals, segment_rules, index)
        return segmentations

    def with_roundings(
        self, signature: ConvertedSignature, roundings: Mapping[str, Rounding]
    ) -> ConvertedSignature:
        """The signature assembled anew, its segments' native functions rounding as they should.

        roundings: segment name -> where it rounds. The new function has resources of its own.
        """
        converted = self._assemble(signature.segmentations, roundings)
        return dataclasses.replace(signature, converted=converted)

    def _assemble(
        self,
        segmentations: Mapping[str, Segmentation],
        roundings: Mapping[str, Rounding] | None = None,
    ) -> ConvertedFunction:
        with self._stages.stage("assemble", self._key):
            segments = {name: result.segments for name, result in segmentations.items()}
            return assemble_function(self._frozen, segments, self._attributes, roundings)

    def _observe(self, converted: ConvertedFunction) -> list[Record]:
        """Run the converted function natively; what no run reaches is sampled by itself."""
        with self._stages.stage("observe", self._key, background=True):
            records = self._try_batches(converted)
            for record in records:
                if not record.calls and self._settings.options.check:
                    self._run_alone(record)
        return records

    def _try_batches(self, converted: ConvertedFunction) -> list[Record]:
        """What the first made-up batch shows that the function runs on; empty if none does."""
        for batch in list(self._guesses):
            try:
                records = observe(converted, [batch], _CHECKED_SAMPLES)
            except tf.errors.OpError as error:
                shapes = {name: tensor.shape for name, tensor in batch.items()}
                logging.info("made-up inputs %s fail: %s", shapes, error_line(error))
                del self._guesses[0]  # not tried again in the next round
            else:
                return records
        logging.info("no made-up input runs through all of %s; its segments run alone", self._key)
        return observe(converted, [], _CHECKED_SAMPLES)

    def _run_alone(self, record: Record) -> None:
        segment, graph = record.segment, self.graphs[record.segment.graph]
        weights = {name: graph.weights[name].value for name in segment.weights}
        tensors = [spec.name for spec in segment.outputs]
        try:
            inputs = segment_inputs(segment.inputs)
            outputs = run_subgraph(build_subgraph(graph, segment), inputs, weights, tensors)
        except (InputError, tf.errors.OpError) as error:
            logging.info("%s can't be run on made-up inputs: %s", segment.name, error)
            return
        record.samples.append(Sample(inputs, tuple(outputs)))

    def _export(self, segments: Sequence[Segment]) -> None:
        """Export the segments that are new in this round."""
        for segment in self._stages.track(segments, "exporting segments"):
            key = _key(segment)
            if key in self._exported:
                continue
            try:
                with self._stages.stage("export", segment.name):
                    self._exported[key] = export_segment(self.graphs[segment.graph], segment)
            except ExportError as error:
                refusal = Refusal("export", error.reason)
                nodes = dict.fromkeys(error.nodes, refusal)
                self._exported[key] = _blame(segment, nodes, refusal)

    def _signature(
        self,
        segmentations: Mapping[str, Segmentation],
        converted: ConvertedFunction,
        records: Sequence[Record],
    ) -> ConvertedSignature | None:
        """What is returned if the check blames nobody; None if the export does."""
        candidates = []
        for record in records:
            onnx = self._exported[_key(record.segment)]
            if isinstance(onnx, _Blame):
                return None
            candidates.append(Candidate(record.segment, onnx, record))
        return ConvertedSignature(
            key=self._key,
            frozen=self._frozen,
            segmentations=segmentations,
            converted=converted,
            candidates=tuple(candidates),
            trial_batches=tuple(self._guesses[:1]),
        )

    def _examine(self, records: Sequence[Record], background: bool = False) -> list[_Blame]:
        """Check the segments that are new in this round."""
        shown = records if background else self._stages.track(records, "checking segments")
        for record in shown:
            key = _key(record.segment)
            if key not in self._verdicts:
                self._verdicts[key] = self._verdict(record, self._exported[key], background)
        verdicts = (self._verdicts[_key(record.segment)] for record in records)
        return [verdict for verdict in verdicts if isinstance(verdict, _Blame)]

    def _verdict(
        self, record: Record, onnx: OnnxModel | _Blame, background: bool
    ) -> OnnxModel | _Blame:
        segment, graph = record.segment, self.graphs[record.segment.graph]
        if isinstance(onnx, _Blame) or not self._settings.options.check:
            return onnx
        if not record.samples:
            reason = "its ONNX can't be checked: no run reaches it, and made-up inputs fail"
            return _blame(segment, {}, Refusal("unchecked", reason))
        with self._stages.stage("check", segment.name, background=background):
            result = verify_segment(graph, segment, onnx, record.samples, export_segment)
        if result.passed:
            return onnx
        return _blame(segment, result.refusals, Refusal("check", result.reason))


def observe(
    converted: ConvertedFunction, batches: Iterable[Batch], max_samples: int
) -> list[Record]:
    """Run a converted function natively on each batch; a Record of each of its segments."""
    records = {
        converted.resources[segment.name]: Record(segment, max_samples)
        for segment in converted.segments
    }
    with runtime.observe({resource: record.add for resource, record in records.items()}):
        for batch in batches:
            converted.function(**batch)
    return list(records.values())


def _blame(segment: Segment, nodes: Mapping[str, Refusal], otherwise: Refusal) -> _Blame:
    """Blame `nodes`; if none of them is the segment's, blame all of it with `otherwise`."""
    blamed = {name: refusal for name, refusal in nodes.items() if name in segment.nodes}
    blamed = blamed or dict.fromkeys(segment.nodes, otherwise)
    name, refusal = next(iter(blamed.items()))
    logging.info("%s: %d nodes stay native, as %s: %s", segment.name, len(blamed), name, refusal)
    return _Blame(segment.graph, blamed)


def _key(segment: Segment) -> tuple[str, tuple[str, ...]]:
    return segment.graph, segment.nodes
