"""From checked segments to engines: precision, plans and asset files, bound to the live function.

candidate (ONNX) -> precision -> typed ONNX -> engine -> plans -> asset file -> runtime.bind
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import Island, Observation, Plan, Segment, SegmentAsset, TypedOnnx
from tftrt_toolkit.asset import AssetFile, write_asset
from tftrt_toolkit.calibrating import calibrate
from tftrt_toolkit.engine import BuildConfig, Builder, available_builder, build_plans
from tftrt_toolkit.errors import EngineBuildError, MissingDependencyError
from tftrt_toolkit.inputs import InputFn, batches, signature_specs
from tftrt_toolkit.manifest import TunedExecutor
from tftrt_toolkit.pipeline import Candidate, ConvertedSignature, observe
from tftrt_toolkit.precision import PrecisionOptions, apply_precision
from tftrt_toolkit.precision.calibration import Calibration
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.settings import Settings
from tftrt_toolkit.shape_search import known_observations, segment_profiles
from tftrt_toolkit.trt import Unavailable
from tftrt_toolkit.tuning import Batch, first_of_each_shape, on_any_machine, tune_function

_CONVOLUTIONS = {"Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput"}
_Key = tuple[str, tuple[str, ...]]  # graph, nodes: what makes a segment the same in two rounds


@dataclasses.dataclass
class Engine:
    """One segment's way to its engine. `refusal` is the builder's, if it refused.

    tuned: the executors that won, if the model was tuned.
    """

    candidate: Candidate
    resource: str
    typed: TypedOnnx | None = None
    plans: tuple[Plan, ...] = ()
    refusal: EngineBuildError | None = None
    tuned: tuple[TunedExecutor, ...] = ()

    @property
    def segment(self) -> Segment:
        """The segment that the engine runs."""
        return self.candidate.segment

    @property
    def blamed_nodes(self) -> list[str]:
        """The segment's TensorFlow nodes that the builder's refusal names, if any.

        An ONNX node is named after the TensorFlow node that it came from, with suffixes.
        """
        known = set(self.segment.nodes)
        found = []
        for name in self.refusal.nodes if self.refusal else ():
            while name and name not in known:
                name = name.rpartition("_")[0]
            if name:
                found.append(name)
        return found

    @property
    def islands(self) -> tuple[Island, ...]:
        """Nodes kept in a higher precision, and why."""
        return self.typed.islands if self.typed else ()

    @property
    def onnx_bytes(self) -> int:
        """Size of the typed ONNX, weights included; of the untyped while there is no other."""
        model = self.typed.model if self.typed else self.candidate.onnx
        return model.proto.ByteSize() + sum(array.nbytes for array in model.weights.values())


class EngineSet:
    """The engines of a conversion. Their asset files live as long as this object."""

    def __init__(self, settings: Settings, stages: Stages) -> None:
        self.engines: list[Engine] = []
        self._settings = settings
        self._stages = stages
        self._directory = tempfile.TemporaryDirectory(prefix="tftrt_assets_")
        self._config = BuildConfig(
            flavour=settings.options.engine,
            compute_capabilities=tuple(settings.options.compute_capabilities),
            workspace_bytes=settings.params.max_workspace_size_bytes,
            engine_per_profile=not settings.dynamic_shape,
            cache_dir=settings.options.cache_dir,
        )
        self._builder = available_builder(self._config)
        if isinstance(self._builder, Unavailable) and settings.options.engine != "auto":
            raise MissingDependencyError(
                f"engine={settings.options.engine!r} can't build here: {self._builder.reason}"
            )
        self._precision = PrecisionOptions(calibrator=settings.options.calibrator)
        self._finished: dict[_Key, Engine] = {}
        self._calibrations: dict[_Key, Calibration] = {}
        self._pending: dict[str, InputFn] = {}  # signature key -> calibration data for `build`
        self._remarks: list[str] = []

    @property
    def builder_version(self) -> dict[str, str]:
        """The builder's flavour and version, for the report; empty without one."""
        if isinstance(self._builder, Unavailable):
            return {}
        return {self._builder.flavour: self._builder.version}

    @property
    def calibration_pending(self) -> bool:
        """Whether calibration waits for `build`."""
        return bool(self._pending)

    @property
    def notes(self) -> list[str]:
        """Sentences for the report: why there are no plans, what a precision left out."""
        built = any(engine.plans for engine in self.engines)
        return self._remarks + ([] if built else [self._why_no_plan()])

    def prepare(
        self, signatures: Sequence[ConvertedSignature], calibration_input_fn: InputFn | None = None
    ) -> list[Engine]:
        """Type each segment's ONNX, and build where the shapes are known.

        Returns the engines that the builder refused. May be called again after these were segmented
        anew: what didn't change is neither calibrated nor built twice. With dynamic shapes that
        aren't known yet, calibration waits for `build`.
        """
        self.engines = []
        for signature in signatures:
            known = known_observations(signature, self._settings, self._stages)
            for candidate in signature.candidates:
                resource = signature.converted.resources[candidate.segment.name]
                self.engines.append(Engine(candidate, resource))
            if calibration_input_fn and self._settings.dynamic_shape and not known:
                self._pending[signature.key] = calibration_input_fn
                continue
            if calibration_input_fn:
                self._calibrate(signature, calibration_input_fn)
            for engine in self._of(signature):
                self._complete(engine, known.get(engine.segment.name))
        return [engine for engine in self.engines if engine.refusal]

    def bind(self) -> None:
        """Write the asset files and hand them to the live functions' engine ops."""
        with self._stages.stage("bind"):
            for engine in self.engines:
                self._write(engine, self._path(engine), engine.plans, engine.tuned)
                runtime.bind(engine.resource, AssetFile.open(self._path(engine)))

    def _calibrate(self, signature: ConvertedSignature, input_fn: InputFn) -> None:
        wanted = {_key(one.segment) for one in signature.candidates}
        if wanted <= self._finished.keys():
            return
        found, count = calibrate(signature, input_fn, self._stages)
        for candidate in signature.candidates:
            if candidate.segment.name in found:
                self._calibrations[_key(candidate.segment)] = found[candidate.segment.name]
        self._note(f"{signature.key} was calibrated on {count} batches")

    def _complete(self, engine: Engine, observations: Sequence[Observation] | None) -> None:
        key = _key(engine.segment)
        if key not in self._finished:
            with self._stages.stage("precision", engine.segment.name):
                engine.typed = self._typed(engine)
            if observations:
                self._build(engine, observations)
            self._finished[key] = engine
        finished = self._finished[key]
        engine.typed, engine.plans = finished.typed, finished.plans
        engine.refusal, engine.tuned = finished.refusal, finished.tuned

    def _typed(self, engine: Engine, convolutions: bool = True) -> TypedOnnx:
        """A segment's ONNX in the precision asked for; FP16 where calibration didn't reach it."""
        precision = self._settings.precision
        calibration = self._calibrations.get(_key(engine.segment))
        if self._settings.needs_calibration and calibration is None:
            self._note(
                f"{engine.segment.name} was reached by no calibration batch: it runs in FP16"
            )
            precision = "FP16"
        options = dataclasses.replace(self._precision, convolutions=convolutions)
        return apply_precision(engine.candidate.onnx, precision, calibration, options)

    def _typed_for_builder(self, engine: Engine) -> TypedOnnx | None:
        """What the builder at hand gets: TensorRT-RTX has no INT8 convolutions worth using."""
        rtx = isinstance(self._builder, Builder) and self._builder.flavour == "tensorrt_rtx"
        if not (rtx and engine.typed and engine.typed.precision == "INT8"):
            return engine.typed
        if engine.segment.op_counts.keys() & _CONVOLUTIONS:
            self._note(
                "TensorRT-RTX's plans keep convolutions in FP16, where it is faster than in INT8; "
                "the ONNX that TensorRT 10 and 11 build from has them quantized"
            )
        return self._typed(engine, convolutions=False)

    def _note(self, sentence: str) -> None:
        if sentence not in self._remarks:
            self._remarks.append(sentence)

    def build(self, signature: ConvertedSignature, input_fn: InputFn, tune: bool = False) -> None:
        """Build engines for the shapes that `input_fn` yields, seen in a native run.

        tune: then time the executors on each of these shapes, and keep the winners.
        """
        specs = signature_specs(signature.converted.function)
        distinct: list[Batch] = []
        with self._stages.stage("observe", "input_fn"):
            source = self._stages.track(batches(input_fn, specs, "input_fn"), "collecting shapes")
            source = first_of_each_shape(source, into=distinct)
            records = observe(signature.converted, source, max_samples=0)
        if not any(record.calls for record in records):
            raise RuntimeError(
                "input_fn yields no batch that reaches an engine: yield at least one"
            )
        pending = self._pending.pop(signature.key, None)
        if pending:
            self._calibrate(signature, pending)
        for engine, record in zip(self._of(signature), records, strict=True):
            if pending:
                engine.typed = self._typed(engine)
            if record.calls:
                self._build(engine, record.observations)
        self.bind()
        if tune:
            self._tune(signature, distinct)

    def _tune(self, signature: ConvertedSignature, shapes: Sequence[Batch]) -> None:
        engines = self._of(signature)
        assets = {engine.resource: AssetFile.open(self._path(engine)) for engine in engines}
        with self._stages.stage("tune", signature.key):
            winners = tune_function(signature.converted.function, shapes, assets)
        for engine in engines:
            engine.tuned = winners.get(engine.resource, ())
        self.bind()

    def asset_files(self, with_plans: bool) -> dict[str, Path]:
        """Resource name -> its asset file."""
        if with_plans:
            return {engine.resource: self._path(engine) for engine in self.engines}
        paths = {}
        for engine in self.engines:
            paths[engine.resource] = self._path(engine).with_suffix(".without_plans")
            tuned = on_any_machine(engine.tuned)
            self._write(engine, paths[engine.resource], plans=(), tuned=tuned)
        return paths

    def _of(self, signature: ConvertedSignature) -> list[Engine]:
        resources = set(signature.converted.resources.values())
        return [engine for engine in self.engines if engine.resource in resources]

    def _build(self, engine: Engine, observations: Sequence[Observation]) -> None:
        """Build one segment's plans; a refusal is kept as the reason why it stays native."""
        typed = self._typed_for_builder(engine)
        if isinstance(self._builder, Unavailable) or typed is None:
            return
        segment = engine.segment
        profiles = segment_profiles(segment, observations, self._settings)
        try:
            with self._stages.stage("engine", segment.name):
                engine.plans = build_plans(typed, segment.name, profiles, self._config)
        except EngineBuildError as error:
            logging.warning("%s stays native: %s", segment.name, error)
            engine.refusal = error

    def _write(
        self, engine: Engine, path: Path, plans: tuple[Plan, ...], tuned: Sequence[TunedExecutor]
    ) -> None:
        segment = engine.segment
        asset = SegmentAsset(segment.name, segment.inputs, segment.outputs, engine.typed, plans)
        write_asset(path, asset)
        if tuned:
            AssetFile.open(path).with_tuned(tuned)

    def _path(self, engine: Engine) -> Path:
        return Path(self._directory.name) / engine.resource

    def _why_no_plan(self) -> str:
        if isinstance(self._builder, Unavailable):
            return (
                f"no engine was built: {self._builder.reason}; the model is saved with its ONNX "
                "segments, and engines are built later, where TensorRT is"
            )
        if self._pending:
            return "no engine was built yet: INT8 calibration runs in build()"
        refusals = [engine.refusal for engine in self.engines if engine.refusal]
        if refusals:
            return f"no engine was built: {refusals[0]}"
        return (
            "no engine was built yet: the input shapes aren't known; give input_shapes, or call "
            "build() with representative inputs"
        )


def _key(segment: Segment) -> _Key:
    return segment.graph, segment.nodes
