"""Writes a segment's asset file; `asset.py` tells its layout."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tftrt_toolkit.artifacts import Plan
from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.manifest import Manifest, Part, PlanEntry

MANIFEST = "manifest.json"
_PAGE = 4096  # where a large member begins in the file
_CHUNK = 1 << 22
_LOCAL_HEADER = 30
_ZIP64_EXTRA = 20
_PADDING_ID = 0xD935  # the id that Android's zipalign uses for padding


class AssetWriter:
    """Writes an asset beside its target and renames it there when all went well."""

    def __init__(self, path: Path) -> None:
        """Nothing is created before the `with` block is entered."""
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")

    def __enter__(self) -> AssetWriter:
        """Create the temporary file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._temporary, "x+b")
        self._archive = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)
        self._names: set[str] = set()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Put the file in its place, or remove it if the block raised."""
        try:
            self._archive.close()
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                self._temporary.replace(self._path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, name: str, blocks: Iterable[bytes | np.ndarray], aligned: bool = False) -> Part:
        """Append a member; `aligned` puts its first byte on a page boundary of the file."""
        info = zipfile.ZipInfo(name)  # the fixed date makes equal assets equal files
        info.external_attr = 0o644 << 16
        if aligned:
            start = self._file.tell() + _LOCAL_HEADER + len(name) + _ZIP64_EXTRA + 4
            padding = -start % _PAGE
            info.extra = (
                _PADDING_ID.to_bytes(2, "little") + padding.to_bytes(2, "little") + bytes(padding)
            )
        digest, size = hashlib.sha256(), 0
        with (
            self._archive.open(info, "w", force_zip64=True) as member,
            ThreadPoolExecutor(1) as other,  # hashes a chunk while it is written
        ):
            hashed = other.submit(digest.update, b"")
            for chunk in _chunks(blocks):
                hashed.result()
                hashed = other.submit(digest.update, chunk)
                member.write(chunk)
                size += len(chunk)
            hashed.result()
        self._names.add(name)
        return Part(name, size, digest.hexdigest())

    def add_plan(self, plan: Plan) -> PlanEntry:
        """Append a plan that a builder returned."""
        base = f"plans/{plan.flavour}-{plan.version}-{'_'.join(plan.targets) or 'default'}"
        name, count = f"{base}.plan", 1
        while name in self._names:
            count += 1
            name = f"{base}-{count}.plan"
        blocks = [plan.data] if isinstance(plan.data, bytes) else _file_blocks(plan.data)
        part = self.add(name, blocks, aligned=True)
        if part.size != plan.size:
            raise InternalError(f"the plan {name} has {part.size} bytes, {plan.size} were declared")
        fields = {
            field.name: getattr(plan, field.name)
            for field in dataclasses.fields(PlanEntry)
            if field.name != "part"
        }
        return PlanEntry(part=part, **fields)

    def copy_plan(self, entry: PlanEntry, data: np.ndarray) -> PlanEntry:
        """Append a plan from another asset under the same name."""
        return dataclasses.replace(entry, part=self.add(entry.part.name, [data], aligned=True))

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, last, because it holds the hashes of all others."""
        self.add(MANIFEST, [manifest.to_json()])


def _chunks(blocks: Iterable[bytes | np.ndarray]) -> Iterator[memoryview]:
    for block in blocks:
        view = block.data if isinstance(block, np.ndarray) else memoryview(block)
        for start in range(0, len(view), _CHUNK):
            yield view[start : start + _CHUNK]


def _file_blocks(path: Path) -> Iterator[np.ndarray]:
    with open(path, "rb") as file:
        while block := file.read(_CHUNK):
            yield np.frombuffer(block, np.uint8)
