"""Builds plans: one engine with every profile, or one engine a profile."""

from __future__ import annotations

import atexit
import dataclasses
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tftrt_toolkit import onnx_model, trt
from tftrt_toolkit.artifacts import OnnxModel, Plan, ShapeProfile, TypedOnnx
from tftrt_toolkit.background import beside
from tftrt_toolkit.engine.cache import PlanCache, source_key
from tftrt_toolkit.engine.config import BuildConfig
from tftrt_toolkit.engine.network import add_profiles, blamed, parsed_network
from tftrt_toolkit.engine.progress import Monitor, ProgressFn
from tftrt_toolkit.errors import EngineBuildError, InvalidArgumentError, MissingDependencyError
from tftrt_toolkit.params import DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES
from tftrt_toolkit.trt import TensorRT, Unavailable

# The builder's default set leaves out 7.5, which refuses most of what the others take.
_NOT_BY_DEFAULT = {"7.5"}
# One build at a time: each uses all the cores it finds, and its errors must be its own.
_build_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Builder:
    """A TensorRT that can build here, and the compute capabilities that it builds for."""

    tensorrt: TensorRT
    targets: tuple[str, ...]

    @property
    def flavour(self) -> str:
        """ "tensorrt" or "tensorrt_rtx"."""
        return self.tensorrt.flavour

    @property
    def version(self) -> str:
        """TensorRT's version, e.g. "1.7.1.116"."""
        return self.tensorrt.version


def available_builder(config: BuildConfig) -> Builder | Unavailable:
    """The builder that `config` asks for, or why there is none.

    Raises InvalidArgumentError if it is there but can't build for a compute capability asked for.
    """
    tensorrt = trt.find(config.flavour)
    if isinstance(tensorrt, Unavailable):
        return tensorrt
    wanted = tuple(config.compute_capabilities)
    if tensorrt.builds_ahead:
        known = tensorrt.capabilities()
        targets = wanted or tuple(one for one in known if one not in _NOT_BY_DEFAULT)
    else:
        known = {trt.gpu_capability() or "": None}
        targets = tuple(known)
        wanted = wanted or targets
    unknown = [one for one in wanted if one not in known]
    if unknown:
        raise InvalidArgumentError(
            f"{tensorrt.flavour} {tensorrt.version} can't build for compute capability "
            f"{', '.join(unknown)} here: it builds for {', '.join(known)}"
        )
    return Builder(tensorrt, targets)


def build_plans(
    typed: TypedOnnx,
    segment: str,
    profiles: Sequence[ShapeProfile],
    config: BuildConfig,
    progress: ProgressFn | None = None,
) -> tuple[Plan, ...]:
    """Build the engines of one segment, or take them from the cache.

    `profiles` may be empty if every input's shape is fixed. `progress` is called with a phase's
    name, steps done and steps in all; an exception in it cancels the build and is raised here.

    Raises MissingDependencyError without a builder, InvalidArgumentError if a profile doesn't fit
    the inputs, EngineBuildError if TensorRT refuses the segment.
    """
    builder = available_builder(config)
    if isinstance(builder, Unavailable):
        raise MissingDependencyError(f"no engine can be built: {builder.reason}")
    groups: list[tuple[ShapeProfile, ...]] = [tuple(profiles)]
    if config.engine_per_profile and profiles:
        groups = [(profile,) for profile in profiles]
    with beside(onnx_model.content_hash, typed.model) as digest:
        return tuple(
            _plan(builder, typed, segment, group, config, digest, progress) for group in groups
        )


def _plan(
    builder: Builder,
    typed: TypedOnnx,
    segment: str,
    profiles: tuple[ShapeProfile, ...],
    config: BuildConfig,
    digest: Future[str],
    progress: ProgressFn | None,
) -> Plan:
    def key() -> str:  # asked for late where it can be: the model is hashed while its plan is built
        identity = (builder.flavour, builder.version, builder.targets)
        return source_key(digest.result(), profiles, config.key_fields(), *identity)

    cache = PlanCache(config.cache_dir) if config.cache_dir else None
    start = time.perf_counter()
    data: bytes | Path | None = cache.get(key()) if cache else None
    seconds = 0.0
    if data is None:
        data = _build(builder, typed.model, segment, profiles, config, progress)
        seconds = time.perf_counter() - start
        if cache:
            kept = cache.put(key(), data)
            data = kept if isinstance(data, Path) else data
    return Plan(
        flavour=builder.tensorrt.flavour,
        version=builder.version,
        targets=builder.targets,
        profiles=profiles,
        precision=typed.precision,
        source_key=key(),
        data=data,
        size=len(data) if isinstance(data, bytes) else data.stat().st_size,
        seconds=seconds,
    )


def _build(
    builder: Builder,
    model: OnnxModel,
    segment: str,
    profiles: Sequence[ShapeProfile],
    config: BuildConfig,
    progress: ProgressFn | None,
) -> bytes | Path:
    tensorrt = builder.tensorrt
    with _build_lock, tensorrt.collect() as messages:
        maker = tensorrt.module.Builder(tensorrt.logger)
        with parsed_network(tensorrt, maker, model, segment) as network:
            settings = _settings(builder, maker, config)
            add_profiles(maker, settings, network, profiles, segment)
            monitor = Monitor(tensorrt.module, progress) if progress else None
            if monitor:
                settings.progress_monitor = monitor.bridge
            weights = sum(array.nbytes for array in model.weights.values())
            if weights > config.stream_bytes and tensorrt.builds_to_stream:
                plan: bytes | Path | None = _build_to_file(tensorrt, maker, network, settings)
            else:
                host = maker.build_serialized_network(network, settings)
                plan = None if host is None else bytes(host)
        if monitor and monitor.error is not None:
            raise monitor.error
        if not plan:
            words = messages.summary() or "without telling why"
            raise EngineBuildError(
                f"{segment}: TensorRT's builder refuses it: {words}", blamed(words, model)
            )
        return plan


def _settings(builder: Builder, maker: Any, config: BuildConfig) -> Any:
    """The IBuilderConfig."""
    module = builder.tensorrt.module
    settings = maker.create_builder_config()
    if config.layer_details:
        settings.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    if config.workspace_bytes < DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES:
        settings.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, config.workspace_bytes)
    if config.optimization_level is not None:
        settings.builder_optimization_level = config.optimization_level
    if config.sparse_weights:
        settings.set_flag(module.BuilderFlag.SPARSE_WEIGHTS)
    if not config.tf32:
        settings.clear_flag(module.BuilderFlag.TF32)
    if config.compute_capabilities and builder.tensorrt.builds_ahead:
        names = builder.tensorrt.capabilities()
        settings.num_compute_capabilities = len(builder.targets)
        for index, target in enumerate(builder.targets):
            if not settings.set_compute_capability(names[target], index):
                raise EngineBuildError(f"TensorRT doesn't take compute capability {target}")
    return settings


def _build_to_file(tensorrt: TensorRT, maker: Any, network: Any, settings: Any) -> Path | None:
    """Build into a file that lasts as long as this process; None if the builder refuses."""
    handle, name = tempfile.mkstemp(prefix="tftrt_plan_")
    path = Path(name)
    atexit.register(path.unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as file:

        class Writer(tensorrt.module.IStreamWriter):  # type: ignore[name-defined]
            """Appends what the builder hands over."""

            def __init__(self) -> None:
                tensorrt.module.IStreamWriter.__init__(self)

            def write(self, data: bytes) -> int:
                return file.write(data)

        built = maker.build_serialized_network_to_stream(network, settings, Writer())
    if built and path.stat().st_size:
        return path
    path.unlink()
    return None
