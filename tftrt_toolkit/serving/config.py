"""The config.pbtxt of each kind of model in a repository."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tftrt_toolkit.artifacts import TensorSpec
from tftrt_toolkit.manifest import PlanEntry
from tftrt_toolkit.serving.pbtxt import Enum, map_, tensors, to_text
from tftrt_toolkit.serving.pieces import Piece


@dataclasses.dataclass(frozen=True)
class Batching:
    """limit: max_batch_size; 0: shapes are given whole. dynamic: Triton may join requests."""

    limit: int
    dynamic: bool


def _common(name: str, piece: Piece, batching: Batching) -> dict[str, Any]:
    content: dict[str, Any] = {"name": name, "max_batch_size": batching.limit}
    for side, specs, names in (
        ("input", piece.inputs, piece.onnx_inputs),
        ("output", piece.outputs, piece.onnx_outputs),
    ):
        pairs = zip(specs, names, strict=True)
        named = [dataclasses.replace(spec, name=own) for spec, own in pairs]
        content[side] = tensors(named, batched=batching.limit > 0, ensemble=False)
    if batching.limit and batching.dynamic:
        content["dynamic_batching"] = {}
    return content


def onnx_config(name: str, piece: Piece, batching: Batching) -> str:
    """A model of Triton's ONNX Runtime backend."""
    return to_text({"backend": "onnxruntime", **_common(name, piece, batching)})


def plan_config(name: str, piece: Piece, plans: Sequence[PlanEntry], batching: Batching) -> str:
    """A model of its TensorRT backend: the first plan, or the one that is for the GPU at hand."""
    content = {"platform": "tensorrt_plan", **_common(name, piece, batching)}
    shape_values = {one for plan in plans for profile in plan.profiles for one in profile.values}
    for entry in content["input"]:
        if entry["name"] in shape_values:
            entry["is_shape_tensor"] = True
    content["default_model_filename"] = plan_file(plans[0])
    if len(plans) > 1:
        files = {target: plan_file(plan) for plan in plans for target in plan.targets}
        content["cc_model_filenames"] = map_(files)
    profiles = max(len(plan.profiles) for plan in plans)
    if profiles > 1:
        group = {"kind": Enum("KIND_GPU"), "profile": [str(index) for index in range(profiles)]}
        content["instance_group"] = [group]
    return to_text(content)


def step(name: str, piece: Piece, names: Mapping[str, str]) -> dict[str, Any]:
    """The ensemble's step for a piece. names: tensor -> the ensemble's input or output."""

    def mapped(own: Sequence[str], specs: Sequence[TensorSpec]) -> list[dict[str, str]]:
        return map_(
            {one: names.get(spec.name, spec.name) for one, spec in zip(own, specs, strict=True)}
        )

    return {
        "model_name": name,
        "model_version": -1,
        "input_map": mapped(piece.onnx_inputs, piece.inputs),
        "output_map": mapped(piece.onnx_outputs, piece.outputs),
    }


def ensemble_config(
    name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    steps: Sequence[Mapping[str, Any]],
    batching: Batching,
) -> str:
    """The ensemble that runs the steps."""
    batched = batching.limit > 0
    return to_text(
        {
            "name": name,
            "platform": "ensemble",
            "max_batch_size": batching.limit,
            "input": tensors(inputs, batched, ensemble=True),
            "output": tensors(outputs, batched, ensemble=True),
            "ensemble_scheduling": {"step": steps},
        }
    )


def plan_file(plan: PlanEntry) -> str:
    """The plan's file name in the version's directory."""
    return f"model_{'_'.join(plan.targets)}.plan" if plan.targets else "model.plan"
