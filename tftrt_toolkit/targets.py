"""Builds plans for a model that is converted already, from the ONNX in its assets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import Plan, ShapeProfile, TypedOnnx
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.engine import BuildConfig, Builder, available_builder, build_plans
from tftrt_toolkit.errors import InvalidArgumentError, ModelError
from tftrt_toolkit.inspection import engine_assets
from tftrt_toolkit.protos import copied


def add_plans(directory: Path | str, config: BuildConfig) -> dict[str, tuple[Plan, ...]]:
    """Build each segment for `config`'s targets and put the plans into its asset.

    The profiles are those of the plans that the segment has. A plan that was built from the same
    things is replaced, so that doing it again changes nothing. All is built before the first asset
    is written, and each asset is replaced at once: a kill leaves a model that works.

    Returns segment name -> the plans added.

    Raises ModelError if the model has no engines, or one whose shapes aren't known; AssetError if
    an asset is damaged; MissingDependencyError without a builder; InvalidArgumentError for an
    unknown target; EngineBuildError if TensorRT refuses a segment.
    """
    assets = [AssetFile.open(path) for path in engine_assets(directory)]
    if not assets:
        raise ModelError(f"{directory} has no engines: convert it with convert_saved_model first")
    groups = [_profile_groups(asset) for asset in assets]
    built = [
        tuple(
            plan
            for profiles in groups_of
            for plan in build_plans(_as_converted(asset), asset.segment, profiles, config)
        )
        for asset, groups_of in zip(assets, groups, strict=True)
    ]
    for asset, plans in zip(assets, built, strict=True):
        asset.with_plans(plans)
    return {asset.segment: plans for asset, plans in zip(assets, built, strict=True)}


def can_build_here() -> bool:
    """Whether `build_for_shapes` can build at all: there is a GPU, and a TensorRT that takes it."""
    config = _here()
    try:
        return bool(config.compute_capabilities) and isinstance(available_builder(config), Builder)
    except InvalidArgumentError:
        return False


def build_for_shapes(asset: AssetFile, profile: ShapeProfile) -> tuple[Plan, ...]:
    """Build an engine for one profile while a model runs, for the GPUs of this machine.

    Raises EngineBuildError if TensorRT refuses the segment.
    """
    static = all(spec.shape.is_fully_defined() for spec in asset.inputs)
    return build_plans(_as_converted(asset), asset.segment, () if static else (profile,), _here())


def _here() -> BuildConfig:
    return BuildConfig(compute_capabilities=runtime.gpu_capabilities())


def _as_converted(asset: AssetFile) -> TypedOnnx:
    """The segment's ONNX without its references into the file, as the conversion built from it.

    The plans' source keys, and the cache's, are hashes that would tell the two apart.
    """
    typed = asset.load_onnx()
    proto = copied(typed.model.proto)
    for tensor in proto.graph.initializer:
        del tensor.external_data[:]
    return dataclasses.replace(typed, model=dataclasses.replace(typed.model, proto=proto))


def _profile_groups(asset: AssetFile) -> Sequence[tuple[ShapeProfile, ...]]:
    """The profiles of each engine that the segment needs: those of its plans, each once."""
    groups: list[tuple[ShapeProfile, ...]] = []
    for plan in asset.plans:
        if plan.profiles not in groups:
            groups.append(plan.profiles)
    if groups:
        return groups
    if all(spec.shape.is_fully_defined() for spec in asset.inputs):
        return [()]
    raise ModelError(
        f"{asset.segment} has no plan to take shapes from: convert the model anew with "
        "input_shapes, or call build() with representative inputs"
    )
