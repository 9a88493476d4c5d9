"""The manifest of a segment's asset: what is in the file, as JSON that a person can read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tftrt_toolkit.artifacts import Flavour, Island, ShapeProfile, ShapeRange, TensorSpec
from tftrt_toolkit.errors import AssetError

FORMAT = "tftrt_toolkit.segment"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Part:
    """One member of the file: its name, its size in bytes and its SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class PlanEntry:
    """A plan in the file; the fields are those of `artifacts.Plan`, `part` instead of the data."""

    flavour: Flavour
    version: str
    targets: tuple[str, ...]
    profiles: tuple[ShapeProfile, ...]
    precision: str
    source_key: str
    seconds: float
    part: Part


@dataclasses.dataclass(frozen=True)
class TunedExecutor:
    """The executor that won on one kind of GPU (or CPU) at one set of input shapes.

    device: the device's name as TensorFlow tells it, e.g. "NVIDIA H200".
    shapes: input name -> shape.
    executor: the one with which the whole model took the least time.
    seconds: executor -> median time of a call of this segment alone.
    """

    device: str
    shapes: Mapping[str, tuple[int, ...]]
    executor: str
    seconds: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """All that the asset says about itself. `onnx` and `weights` are None where there is none."""

    segment: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: str | None
    islands: tuple[Island, ...]
    onnx: Part | None
    weights: Part | None
    plans: tuple[PlanEntry, ...]
    tuned: tuple[TunedExecutor, ...] = ()

    def parts(self) -> list[Part]:
        """Every member that the manifest speaks of."""
        parts = [part for part in (self.onnx, self.weights) if part is not None]
        return parts + [plan.part for plan in self.plans]

    def to_json(self) -> bytes:
        """The manifest as UTF-8 JSON."""
        content = dataclasses.asdict(
            dataclasses.replace(
                self, inputs=(), outputs=()
            )  # TensorFlow's types need their own way
        )
        content["inputs"] = [spec.to_json() for spec in self.inputs]
        content["outputs"] = [spec.to_json() for spec in self.outputs]
        return json.dumps({"format": FORMAT, "version": VERSION, **content}, indent=1).encode()

    @staticmethod
    def from_json(text: bytes) -> Manifest:
        """Read what `to_json` wrote. Raises AssetError, without the file's name, if it can't."""
        try:
            content = json.loads(text)
            _check_format(content)
            return Manifest(
                segment=str(content["segment"]),
                inputs=tuple(_spec_from_json(spec) for spec in content["inputs"]),
                outputs=tuple(_spec_from_json(spec) for spec in content["outputs"]),
                precision=content["precision"],
                islands=tuple(Island(**island) for island in content["islands"]),
                onnx=_part_from_json(content["onnx"]),
                weights=_part_from_json(content["weights"]),
                plans=tuple(_plan_from_json(plan) for plan in content["plans"]),
                tuned=tuple(_tuned_from_json(tuned) for tuned in content["tuned"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, AssetError):
                raise
            raise AssetError(
                f"its manifest can't be read ({type(error).__name__}: {error})"
            ) from error


def _check_format(content: Mapping[str, Any]) -> None:
    if content.get("format") != FORMAT:
        raise AssetError("its manifest isn't one of this toolkit's")
    if content.get("version") != VERSION:
        raise AssetError(
            f"its format version is {content.get('version')}, this toolkit reads {VERSION}: "
            "use the toolkit that wrote it, or convert the model again"
        )


def _spec_from_json(content: Mapping[str, Any]) -> TensorSpec:
    dtype = tf.as_dtype(content["dtype"])
    return TensorSpec(content["name"], dtype, tf.TensorShape(content["shape"]))


def _part_from_json(content: Mapping[str, Any] | None) -> Part | None:
    if content is None:
        return None
    part = Part(str(content["name"]), int(content["size"]), str(content["sha256"]))
    if part.size < 0:
        raise ValueError(f"size {part.size} of {part.name}")
    return part


def _profile_from_json(content: Mapping[str, Any]) -> ShapeProfile:
    def ranges(table: Mapping[str, Any]) -> dict[str, ShapeRange]:
        return {
            name: ShapeRange(*(tuple(map(int, one[key])) for key in ("min", "opt", "max")))
            for name, one in table.items()
        }

    return ShapeProfile(ranges(content["shapes"]), ranges(content["values"]))


def _plan_from_json(content: Mapping[str, Any]) -> PlanEntry:
    part = _part_from_json(content["part"])
    if part is None:
        raise ValueError("a plan without its member")
    if content["flavour"] not in ("tensorrt", "tensorrt_rtx"):
        raise ValueError(f"flavour {content['flavour']!r}")
    return PlanEntry(
        flavour=content["flavour"],
        version=str(content["version"]),
        targets=tuple(map(str, content["targets"])),
        profiles=tuple(_profile_from_json(profile) for profile in content["profiles"]),
        precision=str(content["precision"]),
        source_key=str(content["source_key"]),
        seconds=float(content["seconds"]),
        part=part,
    )


def _tuned_from_json(content: Mapping[str, Any]) -> TunedExecutor:
    return TunedExecutor(
        device=str(content["device"]),
        shapes={name: tuple(map(int, shape)) for name, shape in content["shapes"].items()},
        executor=str(content["executor"]),
        seconds={name: float(seconds) for name, seconds in content["seconds"].items()},
    )
