"""From checked segments to engines: precision, plans and asset files, bound to the live function.

candidate (ONNX) -> precision -> typed ONNX -> engine -> plans -> asset file -> runtime.bind
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import logging

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import Island, Observation, Plan, Segment, SegmentAsset, TypedOnnx
from tftrt_toolkit.asset import AssetFile, write_asset
from tftrt_toolkit.calibrating import SegmentRanges, data_batches
from tftrt_toolkit.engine import (
    BuildConfig,
    Builder,
    KernelReport,
    available_builder,
    build_plans,
    report_kernels,
)
from tftrt_toolkit.errors import EngineBuildError, MissingDependencyError, ToolkitError
from tftrt_toolkit.graph import origin_of
from tftrt_toolkit.inputs import DataSource
from tftrt_toolkit.manifest import TunedExecutor
from tftrt_toolkit.pipeline import Candidate, ConvertedSignature, observe
from tftrt_toolkit.precision import WeightSparsity, check_sparsity
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.settings import Settings
from tftrt_toolkit.shape_search import known_observations, segment_profiles
from tftrt_toolkit.trt import Unavailable
from tftrt_toolkit.tuning import Batch, first_of_each_shape, on_any_machine, tune_function
from tftrt_toolkit.typed_segments import Key, SegmentTyper, key_of

# The most weights, in bytes, of a signature whose engines are built beside its check.
_HEAD_START_BYTES = 256 << 20
# What an engine takes over from the same segment's of an earlier round.
_FINISHED = ("typed", "plans", "plan_islands", "ranges", "kernels", "sparsity", "refusal", "tuned")


@dataclasses.dataclass
class Engine:
    """One segment's way to its engine.

    typed: what any executor may run. plan_islands: nodes that only the plans keep in a higher
    precision. ranges: what is known of its tensors. kernels: what became of quantized nodes.
    sparsity: of its weights; both if they were asked for. refusal: the builder's, if it refused.
    tuned: the executors that won, if the model was tuned.
    """

    candidate: Candidate
    resource: str
    typed: TypedOnnx | None = None
    plans: tuple[Plan, ...] = ()
    plan_islands: tuple[Island, ...] = ()
    ranges: SegmentRanges | None = None
    kernels: KernelReport | None = None
    sparsity: Sequence[WeightSparsity] = ()
    refusal: EngineBuildError | None = None
    tuned: tuple[TunedExecutor, ...] = ()

    @property
    def segment(self) -> Segment:
        """The segment that the engine runs."""
        return self.candidate.segment

    @property
    def blamed_nodes(self) -> list[str]:
        """The segment's TensorFlow nodes that the builder's refusal names, if any."""
        known = set(self.segment.nodes)
        origins = (origin_of(name, known) for name in (self.refusal.nodes if self.refusal else ()))
        return [origin for origin in origins if origin is not None]

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
            sparse_weights=settings.options.sparse_weights,
            engine_per_profile=not settings.dynamic_shape,
            cache_dir=settings.options.cache_dir,
        )
        self._builder = available_builder(self._config)
        if isinstance(self._builder, Unavailable) and settings.options.engine != "auto":
            raise MissingDependencyError(
                f"engine={settings.options.engine!r} can't build here: {self._builder.reason}"
            )
        self.forget()
        self._pending: dict[str, DataSource] = {}  # signature key -> calibration data for `build`

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
        return self.typer.remarks + ([] if built else [self._why_no_plan()])

    def prepare(
        self,
        signatures: Sequence[ConvertedSignature],
        calibration_data: DataSource | None = None,
    ) -> list[Engine]:
        """Type each segment's ONNX, and build where the shapes are known.

        Returns the engines that the builder refused. May be called again after these were segmented
        anew: what didn't change is neither calibrated nor built twice. With dynamic shapes that
        aren't known yet, calibration waits for `build`.
        """
        self.engines = []
        for signature in signatures:
            keys = {key_of(candidate.segment) for candidate in signature.candidates}
            known = {}
            if calibration_data or keys - self._finished.keys():
                known = known_observations(signature, self._settings, self._stages)
            for candidate in signature.candidates:
                resource = signature.converted.resources[candidate.segment.name]
                self.engines.append(Engine(candidate, resource))
            if calibration_data and self._settings.dynamic_shape and not known:
                self._pending[signature.key] = calibration_data
                continue
            if calibration_data:
                self.typer.calibrate(signature, calibration_data)
            self.typer.type_signature(signature)
            for engine in self.of(signature):
                self._complete(engine, known.get(engine.segment.name))
        return [engine for engine in self.engines if engine.refusal]

    def start(self, signature: ConvertedSignature) -> Callable[[], object]:
        """Type the segments before their check has passed, and return what builds their engines.

        Typing uses all cores as the check does, the builder one: it may run beside the check. All
        of it is taken over by `prepare`, which also meets an error again that is left out here.
        """
        if not self._may_start(signature):
            return lambda: None
        try:
            self.typer.type_signature(signature)
        except ToolkitError:
            self.forget()
            return lambda: None
        return lambda: self._build_early(signature)

    def _may_start(self, signature: ConvertedSignature) -> bool:
        """Not where it might be long or large for nothing.

        That is with calibration, with weights of which the check and the builder would both hold
        copies, and with a builder that times kernels.
        """
        options = self._settings.options
        arrays = (array for one in signature.candidates for array in one.onnx.weights.values())
        return (
            isinstance(self._builder, Builder)
            and self._builder.tensorrt.builds_ahead
            and options.check
            and not self._settings.needs_calibration
            and options.calibration_file is None
            and options.max_error is None
            and sum(array.nbytes for array in arrays) <= _HEAD_START_BYTES
        )

    def _build_early(self, signature: ConvertedSignature) -> None:
        try:
            self.prepare([signature])
        except ToolkitError:
            self.forget()

    def forget(self) -> None:
        """Let go of all that was typed and built."""
        self.engines = []
        self.typer = SegmentTyper(self._settings, self._stages)
        self._finished: dict[Key, Engine] = {}

    def of(self, signature: ConvertedSignature) -> list[Engine]:
        """A signature's engines."""
        resources = set(signature.converted.resources.values())
        return [engine for engine in self.engines if engine.resource in resources]

    def move(self, signature: ConvertedSignature, to: ConvertedSignature) -> None:
        """Let a signature's engines run another function of the same segments."""
        for engine in self.of(signature):
            engine.resource = to.converted.resources[engine.segment.name]

    def bind(self) -> None:
        """Write the asset files and hand them to the live functions' engine ops."""
        with self._stages.stage("bind"):
            for engine in self.engines:
                self._write(engine, self._path(engine), engine.plans, engine.tuned)
                runtime.bind(engine.resource, AssetFile.open(self._path(engine)))

    def release(self) -> None:
        """Let go of the engines: the live functions run in TensorFlow from now on."""
        for engine in self.engines:
            runtime.bind(engine.resource, None)

    def _complete(self, engine: Engine, observations: Sequence[Observation] | None) -> None:
        key = key_of(engine.segment)
        if key not in self._finished:
            self._take_typed(engine)
            if observations:
                self._build(engine, observations)
            self._finished[key] = engine
        finished = self._finished[key]
        for name in _FINISHED:
            setattr(engine, name, getattr(finished, name))

    def _take_typed(self, engine: Engine) -> None:
        engine.typed = self.typer.typed(engine.candidate)
        engine.ranges = self.typer.ranges(engine.segment)
        if self._settings.options.sparse_weights:
            engine.sparsity = check_sparsity(engine.candidate.onnx)

    def type_pending(self, signature: ConvertedSignature) -> bool:
        """Calibrate and type a signature that waited for `build`; whether it did."""
        data = self._pending.pop(signature.key, None)
        if data is None:
            return False
        self.typer.calibrate(signature, data)
        self.typer.type_signature(signature)
        for engine in self.of(signature):
            self._take_typed(engine)
        return True

    def build(
        self, signature: ConvertedSignature, input_fn: DataSource, tune: bool = False
    ) -> None:
        """Build engines for the shapes that `input_fn` yields, seen in a native run.

        tune: then time the executors on each of these shapes, and keep the winners.
        """
        distinct: list[Batch] = []
        with self._stages.stage("observe", "input_fn"):
            source = data_batches(signature, input_fn, "input_fn")
            source = self._stages.track(source, "collecting shapes")
            source = first_of_each_shape(source, into=distinct)
            records = observe(signature.converted, source, max_samples=0)
        if not any(record.calls for record in records):
            raise RuntimeError(
                "input_fn yields no batch that reaches an engine: yield at least one"
            )
        for engine, record in zip(self.of(signature), records, strict=True):
            if record.calls:
                self._build(engine, record.observations)
        self.bind()
        if tune:
            self._tune(signature, distinct)

    def _tune(self, signature: ConvertedSignature, shapes: Sequence[Batch]) -> None:
        engines = self.of(signature)
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

    def _build(self, engine: Engine, observations: Sequence[Observation]) -> None:
        """Build one segment's plans; a refusal is kept as the reason why it stays native."""
        if isinstance(self._builder, Unavailable) or engine.typed is None:
            return
        segment = engine.segment
        typed = self.typer.typed_for(engine.candidate, self._builder.flavour)
        known = {one.node for one in engine.islands}
        engine.plan_islands = tuple(one for one in typed.islands if one.node not in known)
        profiles = segment_profiles(segment, observations, self._settings)
        try:
            with self._stages.stage("engine", segment.name):
                engine.plans = build_plans(typed, segment.name, profiles, self._config)
            if self._settings.options.report_kernels and typed.precision in ("INT8", "FP8"):
                with self._stages.stage("kernels", segment.name):
                    engine.kernels = report_kernels(typed, segment.name, profiles, self._config)
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
            return "no engine was built yet: calibration runs in build()"
        refusals = [engine.refusal for engine in self.engines if engine.refusal]
        if refusals:
            return f"no engine was built: {refusals[0]}"
        return (
            "no engine was built yet: the input shapes aren't known; give input_shapes, or call "
            "build() with representative inputs"
        )
