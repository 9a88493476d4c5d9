"""Run a segment's TensorRT engines, on TensorFlow's memory and TensorFlow's stream."""

from __future__ import annotations

import collections
import dataclasses
import math
import threading
from collections.abc import Callable, Mapping, Sequence

from tftrt_toolkit import trt
from tftrt_toolkit.artifacts import Plan, ShapeProfile, ShapeRange
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import EngineBuildError, MissingDependencyError
from tftrt_toolkit.manifest import PlanEntry
from tftrt_toolkit.runtime.bridge import CCall
from tftrt_toolkit.runtime.executor import CallInfo, DeclinedError, Prepared, require_interface
from tftrt_toolkit.runtime.selection import capability_of, misfit
from tftrt_toolkit.runtime.tensorrt_engine import Engine

Shapes = Mapping[str, tuple[int, ...]]
# Builds an engine for one profile while the model runs. Raises EngineBuildError.
Build = Callable[[AssetFile, ShapeProfile], Sequence[Plan]]


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A plan of the asset, or one that was built here."""

    plan: PlanEntry | Plan

    @property
    def key(self) -> str:
        return self.plan.source_key

    def profile_for(self, shapes: Shapes, declared: Shapes) -> int | None:
        """The tightest profile that takes these shapes. A plan without profiles is static."""
        profiles = self.plan.profiles
        if not profiles:
            return 0 if shapes == declared else None
        fitting = [index for index, one in enumerate(profiles) if _takes(one, shapes)]
        return min(fitting, key=lambda index: _greatest(profiles[index]), default=None)


class TensorRtExecutor:
    """Engines of the asset's plans, deserialized when they are first needed.

    At most `max_cached_engines` are kept, the least recently used goes. Shapes that no plan takes
    are declined, or built for if the model allows it and `build` is there; a build that failed
    isn't tried again.
    """

    name = "tensorrt"

    def __init__(
        self,
        asset: AssetFile,
        plans: Sequence[PlanEntry],
        max_cached_engines: int,
        build: Build | None = None,
    ) -> None:
        """`plans`: those that fit a GPU of this machine."""
        self._asset = asset
        self._max_cached = max(1, max_cached_engines)
        self._build = build
        self._lock = threading.RLock()
        self._candidates = [_Candidate(plan) for plan in plans]
        self._failed_builds: dict[tuple[tuple[str, tuple[int, ...]], ...], str] = {}
        self._engines: collections.OrderedDict[tuple[str, int], Engine] = collections.OrderedDict()

    def prepare(self, call: CallInfo) -> Prepared:
        """Find the engine and the profile for these shapes."""
        if call.device is None:
            raise DeclinedError("it runs on the CPU here, and TensorRT needs a GPU")
        require_interface(self._asset, call)
        names = (spec.name for spec in self._asset.inputs)
        shapes = dict(zip(names, call.shapes(), strict=True))
        with self._lock:
            candidate, profile = self._find(shapes, call)
            engine = self._engine(candidate, call.device)
        prepared = engine.prepare(profile, shapes, call.stream)
        device = call.device

        def run(call: CCall) -> None:
            # Asked for anew, because it may have gone since: a plan must not keep an engine alive.
            with self._lock:
                engine = self._engine(candidate, device)
            engine.run(profile, shapes, call)

        return Prepared(run, prepared.output_shapes, prepared.scratch_bytes)

    def close(self) -> None:
        """Free the engines."""
        with self._lock:
            self._engines.clear()

    def _find(self, shapes: Shapes, call: CallInfo) -> tuple[_Candidate, int]:
        capability = capability_of(call.device or 0)
        declared = {
            spec.name: tuple(spec.shape)
            for spec in self._asset.inputs
            if spec.shape.is_fully_defined()
        }
        best: tuple[float, _Candidate, int] | None = None
        for candidate in self._candidates:
            if misfit(candidate.plan, [capability]) is not None:
                continue
            profile = candidate.profile_for(shapes, declared)
            if profile is None:
                continue
            profiles = candidate.plan.profiles
            size = _greatest(profiles[profile]) if profiles else 0.0
            if best is None or size < best[0]:
                best = (size, candidate, profile)
        if best is None:
            return self._build_for(shapes, call.allow_build), 0
        return best[1], best[2]

    def _build_for(self, shapes: Shapes, allowed: bool) -> _Candidate:
        words = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        outside = f"no plan's profile takes {words}"
        key = tuple(shapes.items())
        if key in self._failed_builds:
            raise DeclinedError(self._failed_builds[key])
        if not allowed or self._build is None:
            raise DeclinedError(outside)
        exact = {name: ShapeRange(shape, shape, shape) for name, shape in shapes.items()}
        try:
            plans = self._build(self._asset, ShapeProfile(exact))
        except EngineBuildError as error:
            self._failed_builds[key] = f"{outside}, and none could be built: {error}"
            raise DeclinedError(self._failed_builds[key]) from error
        if not plans:
            raise DeclinedError(outside)
        self._candidates += [_Candidate(plan) for plan in plans]
        return self._candidates[-len(plans)]

    def _engine(self, candidate: _Candidate, device: int) -> Engine:
        """The engine, deserialized if it isn't cached. The lock is held."""
        key = (candidate.key, device)
        if key not in self._engines:
            found = trt.load(candidate.plan.flavour)
            if isinstance(found, trt.Unavailable):
                raise MissingDependencyError(found.reason)
            while len(self._engines) >= self._max_cached:
                self._engines.popitem(last=False)
            names = [spec.name for spec in self._asset.inputs]
            outputs = [spec.name for spec in self._asset.outputs]
            plan = candidate.plan
            if isinstance(plan, PlanEntry):
                data: bytes | memoryview = self._asset.read_plan(plan)
            else:
                data = plan.data if isinstance(plan.data, bytes) else plan.data.read_bytes()
            values = [dict(profile.values) for profile in plan.profiles]
            self._engines[key] = Engine(found, data, device, names, outputs, values)
        self._engines.move_to_end(key)
        return self._engines[key]


def _takes(profile: ShapeProfile, shapes: Shapes) -> bool:
    for name, shape in shapes.items():
        span = profile.shapes.get(name)
        if span is None or len(span.min) != len(shape):
            return False
        if not all(a <= b <= c for a, b, c in zip(span.min, shape, span.max, strict=True)):
            return False
    return True


def _greatest(profile: ShapeProfile) -> float:
    """Elements of the greatest inputs: the less, the better a profile was tuned for its shapes."""
    return sum(math.prod(span.max) for span in profile.shapes.values())
