"""A segment's asset file: its ONNX, its weights and its plans in one zip without compression.

    manifest.json                             what the file holds, and the SHA-256 of every part
    segment.onnx                              the typed graph; large initializers are references
    segment.weights                           their raw bytes, aligned, so that they can be mapped
    plans/<flavour>-<version>-<targets>.plan  one for each engine

Opening reads the manifest and compares sizes, which is cheap; a part's hash is checked when that
part is read. Large parts are mapped, never copied: several GB cost no memory of the process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from tftrt_toolkit.artifacts import OnnxModel, Plan, SegmentAsset, TensorSpec, TypedOnnx
from tftrt_toolkit.asset_writer import MANIFEST, AssetWriter
from tftrt_toolkit.errors import AssetError, InternalError
from tftrt_toolkit.manifest import Manifest, Part, PlanEntry, TunedExecutor
from tftrt_toolkit.onnx_model import PACKED_TYPES, refer_to_file
from tftrt_toolkit.protos import copied

_ONNX = "segment.onnx"
_WEIGHTS = "segment.weights"
_LINE = 64  # where an array begins among the weights
_MAX_MANIFEST = 1 << 26
_LOCAL_HEADER = 30


def write_asset(path: Path | str, asset: SegmentAsset) -> None:
    """Write one segment's asset at `path`, whole or not at all.

    Raises InternalError if the ONNX refers to a weight that isn't there, OSError if the file can't
    be written.
    """
    with AssetWriter(Path(path)) as writer:
        onnx_part, weights_part = None, None
        if asset.onnx is not None:
            graph, arrays = _with_external_data(asset.onnx.model)
            onnx_part = writer.add(_ONNX, [graph])
            if arrays:
                weights_part = writer.add(_WEIGHTS, _weight_bytes(arrays), aligned=True)
        manifest = Manifest(
            segment=asset.segment,
            inputs=asset.inputs,
            outputs=asset.outputs,
            precision=asset.onnx.precision if asset.onnx else None,
            islands=asset.onnx.islands if asset.onnx else (),
            onnx=onnx_part,
            weights=weights_part,
            plans=tuple(writer.add_plan(plan) for plan in asset.plans),
        )
        writer.finish(manifest)


class AssetFile:
    """An asset that was opened and found whole, as far as names and sizes tell."""

    def __init__(self, path: Path, manifest: Manifest, offsets: dict[str, int]) -> None:
        """Use `AssetFile.open`."""
        self.path = path
        self.manifest = manifest
        self._offsets = offsets
        self._checked: set[str] = set()

    @staticmethod
    def open(path: Path | str) -> AssetFile:
        """Read the manifest and compare it with the file.

        Raises AssetError if the file is missing, truncated, damaged, or not one of ours.
        """
        path = Path(path)
        if path.exists() and not path.is_file():  # a device or a pipe would never end
            raise AssetError(f"{path}: it isn't a file")
        try:
            with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
                offsets = _locate(archive, file)
                manifest = Manifest.from_json(archive.read(MANIFEST))
                _compare(manifest, archive)
        except AssetError as error:
            raise AssetError(f"{path}: {error}") from error.__cause__
        except FileNotFoundError as error:
            raise AssetError(f"{path}: there is no such asset") from error
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
            raise AssetError(
                f"{path}: it is damaged or not an asset of this toolkit ({error})"
            ) from error
        return AssetFile(path, manifest, offsets)

    @property
    def segment(self) -> str:
        """The segment's name."""
        return self.manifest.segment

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The engine's inputs, in the op's order."""
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The engine's outputs, in the op's order."""
        return self.manifest.outputs

    @property
    def plans(self) -> tuple[PlanEntry, ...]:
        """The plans, in the order in which they were added."""
        return self.manifest.plans

    def read_plan(self, entry: PlanEntry) -> memoryview:
        """The plan's bytes, mapped from the file and checked. Raises AssetError if they differ."""
        return self._map(entry.part).data

    def load_onnx(self) -> TypedOnnx:
        """The typed ONNX; its weights are read-only views of the mapped file.

        Raises AssetError if the asset holds no ONNX, or a part differs from its hash.
        """
        manifest = self.manifest
        if manifest.onnx is None or manifest.precision is None:
            raise AssetError(f"{self.path}: it holds no ONNX: save the model with its segments")
        try:
            proto = onnx.ModelProto.FromString(bytes(self._map(manifest.onnx)))
        except DecodeError as error:
            raise AssetError(f"{self.path}: {_ONNX} isn't an ONNX model") from error
        buffer = self._map(manifest.weights) if manifest.weights else np.empty(0, np.uint8)
        try:
            weights = {
                tensor.name: _view(tensor, buffer)
                for tensor in proto.graph.initializer
                if tensor.data_location == onnx.TensorProto.EXTERNAL
            }
        except (KeyError, ValueError, TypeError) as error:
            raise AssetError(f"{self.path}: {_ONNX} and {_WEIGHTS} disagree ({error})") from error
        return TypedOnnx(OnnxModel(proto, weights), manifest.precision, manifest.islands)

    def with_plans(self, plans: Iterable[Plan]) -> AssetFile:
        """Rewrite the file with these plans added; one of the same `source_key` is replaced."""
        added = list(plans)
        keys = {plan.source_key for plan in added}
        kept = [entry for entry in self.plans if entry.source_key not in keys]
        return self._rewrite(kept, added, self.manifest.tuned)

    def with_tuned(self, choices: Sequence[TunedExecutor]) -> AssetFile:
        """Rewrite the file with these winners; those of the same device and shapes are replaced."""
        replaced = [(choice.device, dict(choice.shapes)) for choice in choices]
        kept = [
            choice
            for choice in self.manifest.tuned
            if (choice.device, dict(choice.shapes)) not in replaced
        ]
        return self._rewrite(self.plans, (), (*kept, *choices))

    def _rewrite(
        self, kept: Iterable[PlanEntry], added: Iterable[Plan], tuned: tuple[TunedExecutor, ...]
    ) -> AssetFile:
        manifest = self.manifest
        with AssetWriter(self.path) as writer:
            for part in (manifest.onnx, manifest.weights):
                if part is not None:
                    writer.add(part.name, [self._map(part)], aligned=part.name == _WEIGHTS)
            entries = [writer.copy_plan(entry, self._map(entry.part)) for entry in kept]
            entries += [writer.add_plan(plan) for plan in added]
            writer.finish(dataclasses.replace(manifest, plans=tuple(entries), tuned=tuned))
        return AssetFile.open(self.path)

    def _map(self, part: Part) -> np.ndarray:
        """The part's bytes as a mapped array, hashed the first time that it is asked for."""
        if part.size == 0:
            data = np.empty(0, np.uint8)
        else:
            try:
                data = np.memmap(self.path, np.uint8, "r", self._offsets[part.name], (part.size,))
            except (OSError, ValueError) as error:
                raise AssetError(f"{self.path}: {part.name} can't be read ({error})") from error
        if part.name not in self._checked:
            if hashlib.sha256(data.data).hexdigest() != part.sha256:
                raise AssetError(
                    f"{self.path}: {part.name} is damaged, its SHA-256 differs from the manifest's:"
                    " copy the model again or convert it anew"
                )
            self._checked.add(part.name)
        return data.view(np.ndarray)


def _locate(archive: zipfile.ZipFile, file: BinaryIO) -> dict[str, int]:
    """Where each member's bytes begin. Raises AssetError on members that aren't ours."""
    size = file.seek(0, os.SEEK_END)
    offsets: dict[str, int] = {}
    for info in archive.infolist():
        name = info.filename
        folder, _, base = name.rpartition("/")
        if name in offsets or folder not in ("", "plans") or not base or "\\" in name:
            raise AssetError(f"its member {name!r} doesn't belong into an asset")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise AssetError(f"its member {name!r} is compressed or encrypted, ours never are")
        archive.open(info).close()  # compares the local header with the directory
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        offsets[name] = info.header_offset + _LOCAL_HEADER + lengths
        if offsets[name] + info.file_size > size:
            raise AssetError(f"its member {name!r} is cut short")
    if MANIFEST not in offsets or archive.getinfo(MANIFEST).file_size > _MAX_MANIFEST:
        raise AssetError(f"it has no {MANIFEST}, so it isn't an asset of this toolkit")
    return offsets


def _compare(manifest: Manifest, archive: zipfile.ZipFile) -> None:
    declared = {part.name: part.size for part in manifest.parts()}
    present = {info.filename: info.file_size for info in archive.infolist()}
    del present[MANIFEST]
    if len(declared) != len(manifest.parts()) or declared != present:
        odd = sorted(name for name, _ in declared.items() ^ present.items())
        raise AssetError(
            "its members and its manifest disagree about "
            + (", ".join(dict.fromkeys(odd)) or "the plans' names")
        )


def _with_external_data(model: OnnxModel) -> tuple[bytes, list[np.ndarray]]:
    """The graph, serialized, with references into the weights' member; and the arrays, in order."""
    proto = copied(model.proto)
    arrays, offset = [], 0
    for tensor in proto.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        if tensor.name not in model.weights:
            raise InternalError(f"ONNX initializer {tensor.name!r} has neither bytes nor a weight")
        array = np.ascontiguousarray(model.weights[tensor.name])
        offset = -(-offset // _LINE) * _LINE
        refer_to_file(tensor, _WEIGHTS, offset, array.nbytes)
        arrays.append(array)
        offset += array.nbytes
    return proto.SerializeToString(deterministic=True), arrays


def _weight_bytes(arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    offset = 0
    for array in arrays:
        padding = -offset % _LINE
        yield np.zeros(padding, np.uint8)
        yield array.reshape(-1).view(np.uint8)
        offset += padding + array.nbytes


def _view(tensor: onnx.TensorProto, buffer: np.ndarray) -> np.ndarray:
    where = {entry.key: entry.value for entry in tensor.external_data}
    start, length = int(where["offset"]), int(where["length"])
    if where["location"] != _WEIGHTS or start < 0 or start + length > buffer.size:
        raise ValueError(f"{tensor.name} lies outside")
    raw = buffer[start : start + length]
    if tensor.data_type in PACKED_TYPES:
        return raw
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return raw.view(dtype).reshape(tuple(tensor.dims))
