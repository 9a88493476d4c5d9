"""From checked segments to engines: precision, plans and asset files, bound to the live function.

candidate (ONNX) -> precision -> typed ONNX -> engine -> plans -> asset file -> runtime.bind
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from absl import logging

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import (
    Island,
    Observation,
    Plan,
    Segment,
    SegmentAsset,
    ShapeProfile,
    TypedOnnx,
)
from tftrt_toolkit.asset import AssetFile, write_asset
from tftrt_toolkit.boundary import infer_observations
from tftrt_toolkit.engine import BuildConfig, available_builder, build_plans
from tftrt_toolkit.errors import EngineBuildError
from tftrt_toolkit.inputs import InputFn, batches, signature_specs
from tftrt_toolkit.pipeline import Candidate, ConvertedSignature, observe
from tftrt_toolkit.precision import apply_precision
from tftrt_toolkit.profiles import dynamic_profiles, explicit_profile, static_profiles
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.settings import Settings
from tftrt_toolkit.trials import Shapes, make_batch, profile_points
from tftrt_toolkit.trt import Unavailable


@dataclasses.dataclass
class Engine:
    """One segment's way to its engine. `refusal` is the builder's, if it refused."""

    candidate: Candidate
    resource: str
    typed: TypedOnnx | None = None
    plans: tuple[Plan, ...] = ()
    refusal: EngineBuildError | None = None

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
    """The engines of a conversion. Their asset files live as long as this object.

    notes: sentences for the report: why there are no plans, what a precision left out.
    calibration_pending: calibration data is known but hasn't run yet.
    """

    def __init__(self, settings: Settings, stages: Stages) -> None:
        self.engines: list[Engine] = []
        self.notes: list[str] = []
        self.calibration_pending = False
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
        self._finished: dict[tuple[str, tuple[str, ...]], Engine] = {}

    def prepare(self, signatures: Sequence[ConvertedSignature]) -> list[Engine]:
        """Type each segment's ONNX, and build where the shapes are known.

        Returns the engines that the builder refused. May be called again after these were segmented
        anew: what didn't change isn't built twice.
        """
        self.engines = []
        for signature in signatures:
            seen = self._known_observations(signature)
            for candidate in signature.candidates:
                name = candidate.segment.name
                engine = Engine(candidate, signature.converted.resources[name])
                self.engines.append(engine)
                self._complete(engine, seen.get(name))
        return [engine for engine in self.engines if engine.refusal]

    def bind(self) -> None:
        """Write the asset files and hand them to the live functions' engine ops."""
        with self._stages.stage("bind"):
            for engine in self.engines:
                self._write(engine, self._path(engine), engine.plans)
                runtime.bind(engine.resource, AssetFile.open(self._path(engine)))
        self.notes = [] if any(engine.plans for engine in self.engines) else [self._why_no_plan()]

    def _complete(self, engine: Engine, observations: Sequence[Observation] | None) -> None:
        key = (engine.segment.graph, engine.segment.nodes)
        if key not in self._finished:
            with self._stages.stage("precision", engine.segment.name):
                engine.typed = apply_precision(engine.candidate.onnx, self._settings.precision)
            if observations:
                self._build(engine, observations)
            self._finished[key] = engine
        finished = self._finished[key]
        engine.typed, engine.plans = finished.typed, finished.plans
        engine.refusal = finished.refusal

    def build(self, signature: ConvertedSignature, input_fn: InputFn) -> None:
        """Build engines for the shapes that `input_fn` yields, seen in a native run."""
        specs = signature_specs(signature.converted.function)
        with self._stages.stage("observe", "input_fn"):
            source = self._stages.track(batches(input_fn, specs, "input_fn"), "collecting shapes")
            records = observe(signature.converted, source, max_samples=0)
        if not any(record.calls for record in records):
            raise RuntimeError(
                "input_fn yields no batch that reaches an engine: yield at least one"
            )
        for engine, record in zip(self._of(signature), records, strict=True):
            if record.calls:
                self._build(engine, record.observations)
        self.bind()

    def asset_files(self, with_plans: bool) -> dict[str, Path]:
        """Resource name -> its asset file."""
        if with_plans:
            return {engine.resource: self._path(engine) for engine in self.engines}
        paths = {}
        for engine in self.engines:
            paths[engine.resource] = self._path(engine).with_suffix(".without_plans")
            self._write(engine, paths[engine.resource], plans=())
        return paths

    def _of(self, signature: ConvertedSignature) -> list[Engine]:
        resources = set(signature.converted.resources.values())
        return [engine for engine in self.engines if engine.resource in resources]

    def _known_observations(self, signature: ConvertedSignature) -> dict[str, list[Observation]]:
        """Segment name -> its shapes at the model's min, opt and max, where those are known."""
        options = self._settings.options
        specs = signature_specs(signature.frozen.function)
        points = profile_points(specs, options.input_shapes)
        if points is None:
            return {}
        graph = signature.frozen.graph
        arguments = dict(zip(specs, graph.arguments, strict=False))
        distinct = [points[0]] if points[0] == points[1] == points[2] else list(points)
        with self._stages.stage("profiles", signature.key):
            seen = [
                infer_observations(
                    graph,
                    [candidate.segment for candidate in signature.candidates],
                    {arguments[name]: shape for name, shape in point.items()},
                )
                for point in distinct
            ]
        known = {name: [one[name] for one in seen] for name in seen[0]}
        missing = [one for one in signature.candidates if one.segment.name not in known]
        if missing:
            known |= self._run_at(signature, specs, distinct)
        return known

    def _run_at(
        self,
        signature: ConvertedSignature,
        specs: Mapping[str, tf.TensorSpec],
        points: Sequence[Shapes],
    ) -> dict[str, list[Observation]]:
        """What inference leaves open, a native run at each of the model's shapes tells."""
        seen: dict[str, list[Observation]] = {}
        with self._stages.stage("profiles", signature.key):
            for point in points:
                batch = make_batch(specs, point)
                for record in observe(signature.converted, [batch], max_samples=0):
                    seen.setdefault(record.segment.name, []).extend(record.observations)
        return {name: observations for name, observations in seen.items() if observations}

    def _build(self, engine: Engine, observations: Sequence[Observation]) -> None:
        """Build one segment's plans; a refusal is kept as the reason why it stays native."""
        if isinstance(self._builder, Unavailable) or engine.typed is None:
            return
        segment = engine.segment
        try:
            with self._stages.stage("engine", segment.name):
                engine.plans = build_plans(
                    engine.typed, segment.name, self._profiles(segment, observations), self._config
                )
        except EngineBuildError as error:
            logging.warning("%s stays native: %s", segment.name, error)
            engine.refusal = error

    def _profiles(
        self, segment: Segment, observations: Sequence[Observation]
    ) -> tuple[ShapeProfile, ...]:
        if all(spec.shape.is_fully_defined() for spec in segment.inputs):
            return ()
        explicit = bool(self._settings.options.input_shapes) and len(observations) == 3
        if explicit and self._settings.dynamic_shape and self._settings.strategy == "Range":
            return (explicit_profile(*observations),)
        if self._settings.dynamic_shape:
            return dynamic_profiles(observations, self._settings.strategy)
        return static_profiles(observations)

    def _write(self, engine: Engine, path: Path, plans: tuple[Plan, ...]) -> None:
        segment = engine.segment
        asset = SegmentAsset(segment.name, segment.inputs, segment.outputs, engine.typed, plans)
        write_asset(path, asset)

    def _path(self, engine: Engine) -> Path:
        return Path(self._directory.name) / engine.resource

    def _why_no_plan(self) -> str:
        if isinstance(self._builder, Unavailable):
            return (
                f"no engine was built: {self._builder.reason}; the model is saved with its ONNX "
                "segments, and engines are built later, where TensorRT is"
            )
        refusals = [engine.refusal for engine in self.engines if engine.refusal]
        if refusals:
            return f"no engine was built: {refusals[0]}"
        return (
            "no engine was built yet: the input shapes aren't known; give input_shapes, or call "
            "build() with representative inputs"
        )
