"""Live functions on their way to engines, from freeze to bind. Knows nothing of SavedModels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tftrt_toolkit import inputs, report
from tftrt_toolkit.artifacts import EngineAttributes, Refusal
from tftrt_toolkit.engines import EngineSet
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.pipeline import ConvertedSignature, SignaturePipeline
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.settings import Settings
from tftrt_toolkit.typed_fallback import rounding_of

# Each round takes what the builder refused out of its segments.
_MAX_BUILD_ROUNDS = 4


class Conversion:
    """One conversion of one or more functions, under the names of their signatures.

    name: of the model, for messages. signatures: empty before `analyze`. engines: None before
    `prepare`.
    """

    def __init__(self, name: str, settings: Settings, stages: Stages) -> None:
        self.signatures: list[ConvertedSignature] = []
        self.engines: EngineSet | None = None
        self._name = name
        self._settings = settings
        self._stages = stages
        self._flows: list[SignaturePipeline] = []

    def check_calibration(self, data: inputs.DataSource | None) -> None:
        """Raise InvalidArgumentError where calibration data is missing, or of no use."""
        file = self._settings.options.calibration_file
        if data is not None and file is not None:
            raise InvalidArgumentError(
                "calibration_input_fn and calibration_file are both given: give one"
            )
        if self._settings.needs_calibration and data is None and file is None:
            raise InvalidArgumentError(
                f"{self._settings.precision} needs calibration_input_fn: give a function that "
                "yields representative batches, a calibration_file, or set use_calibration=False"
            )
        if not self._settings.takes_calibration and (data is not None or file is not None):
            raise InvalidArgumentError(
                "calibration data are given, but FP32 and use_calibration=False take none: leave "
                "them out"
            )

    def analyze(self, functions: Mapping[str, Any], engine_set: EngineSet | None = None) -> None:
        """All that builds no engine. functions: signature key -> ConcreteFunction.

        engine_set: may begin on what `prepare` will want of it while segments are checked.
        """
        first_graph = 0
        for key, function in functions.items():
            flow = SignaturePipeline(
                key, function, self._settings, self._stages, first_graph, self._attributes()
            )
            converted = _run_with_head_start(flow, engine_set) if engine_set else flow.run()
            first_graph += len(converted.graphs)
            self._flows.append(flow)
            self.signatures.append(converted)

    def prepare(self, engine_set: EngineSet, data: inputs.DataSource | None) -> None:
        """Calibrate, and build where shapes are known.

        What the builder refuses is segmented again without the nodes that it names. Raises
        ConversionError if nothing can be converted, or not all where all was required.
        """
        self.require_engines()
        for _ in range(_MAX_BUILD_ROUNDS):
            refused = engine_set.prepare(self.signatures, data)
            if not refused:
                break
            for index, flow in enumerate(self._flows):
                mine = [one for one in refused if one.segment.graph in flow.graphs]
                for engine in mine:
                    reason = Refusal("builder", str(engine.refusal))
                    # Without the whole segment, the others keep their calibration.
                    nodes = [] if data else engine.blamed_nodes
                    flow.refuse(engine.segment, nodes, reason)
                if mine:
                    self.signatures[index] = flow.run()
        self.require_engines()
        self._round_fallbacks(engine_set)
        engine_set.bind()
        for signature in self.signatures:
            # The engines' files last as long as their set does: the function may outlive this.
            signature.converted.function.engines = engine_set
        self.engines = engine_set

    def build(self, input_fn: inputs.DataSource, tune: bool = False) -> None:
        """Build engines of the first signature for the shapes that `input_fn` yields.

        Calibration that waited for it comes first. tune: as for `EngineSet.build`.
        """
        assert self.engines is not None
        if self.engines.type_pending(self.signatures[0]):
            self._round_fallbacks(self.engines)
        self.engines.build(self.signatures[0], input_fn, tune)

    def demote(self, reasons: Mapping[str, str]) -> None:
        """Take segments back into TensorFlow, and segment, build and bind again.

        reasons: segment name -> why.
        """
        assert self.engines is not None
        for index, flow in enumerate(self._flows):
            segments = [
                one.segment
                for one in self.signatures[index].candidates
                if one.segment.name in reasons
            ]
            for segment in segments:
                flow.refuse(segment, [], Refusal("validation", reasons[segment.name]))
            if segments:
                self.signatures[index] = flow.run()
        self.prepare(self.engines, None)

    def report(self) -> dict[str, Any]:
        """All that was done and why, ready for JSON."""
        return report.build(self._settings, self.signatures, self.engines, self._stages)

    def require_engines(self) -> None:
        """Raise ConversionError if nothing converts, or not all where all was asked for."""
        summary = report.build(self._settings, self.signatures, None, self._stages)
        report.write_detailed(summary, self._settings.environment.detailed_report)
        full = self._settings.options.require_full_conversion
        report.require_engines(summary, self._name, full)

    def _round_fallbacks(self, engine_set: EngineSet) -> None:
        """Let native functions round as their engines do, where that is asked for."""
        if not self._settings.options.typed_fallback:
            return
        for index, signature in enumerate(self.signatures):
            roundings = {}
            for engine in engine_set.of(signature):
                graph = signature.graphs[engine.segment.graph]
                rounding = (
                    rounding_of(engine.typed, graph, engine.segment) if engine.typed else None
                )
                if rounding is not None:
                    roundings[engine.segment.name] = rounding
            if roundings:
                rounded = self._flows[index].with_roundings(signature, roundings)
                engine_set.move(signature, rounded)
                self.signatures[index] = rounded

    def _attributes(self) -> EngineAttributes:
        params = self._settings.params
        return EngineAttributes(
            precision_mode=self._settings.precision,
            workspace_size_bytes=params.max_workspace_size_bytes,
            max_cached_engines_count=params.maximum_cached_engines,
            use_calibration=params.use_calibration,
            allow_build_at_runtime=params.allow_build_at_runtime,
            dynamic_shape=self._settings.dynamic_shape,
            profile_strategy=self._settings.strategy,
        )


def _run_with_head_start(flow: SignaturePipeline, engine_set: EngineSet) -> ConvertedSignature:
    """Build engines beside the check. Nearly every check passes; where one doesn't, they go."""
    started: list[ConvertedSignature] = []

    def start(signature: ConvertedSignature) -> Callable[[], object]:
        started.append(signature)
        return engine_set.start(signature)

    converted = flow.run(start)
    if started and started[0] is not converted:
        engine_set.forget()
    return converted
