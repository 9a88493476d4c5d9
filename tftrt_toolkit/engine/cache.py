"""Plans on disk, found again by the hash of all that they were built from.

An entry is two files, `<key>.plan` and `<key>.json` with the plan's size and SHA-256. Both are
renamed into place, the JSON last; an entry whose files disagree counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tftrt_toolkit.artifacts import ShapeProfile

_log = logging.getLogger(__name__)


def source_key(
    digest: str,
    profiles: Sequence[ShapeProfile],
    fields: Mapping[str, Any],
    flavour: str,
    version: str,
    targets: Sequence[str],
) -> str:
    """SHA-256 over all that decides a plan, in hex."""
    content = {
        "onnx": digest,
        "profiles": [
            [
                {name: [one.min, one.opt, one.max] for name, one in sorted(table.items())}
                for table in (profile.shapes, profile.values)
            ]
            for profile in profiles
        ],
        "config": dict(fields),
        "flavour": flavour,
        "version": version,
        "targets": list(targets),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class PlanCache:
    """A directory of plans. Several processes may share it."""

    def __init__(self, directory: Path) -> None:
        """The directory is made when the first plan is put there."""
        self._directory = directory

    def get(self, key: str) -> Path | None:
        """The file of a plan that is there and whole, else None."""
        plan, entry = self._paths(key)
        try:
            expected = json.loads(entry.read_text())
            with open(plan, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if expected == {"size": plan.stat().st_size, "sha256": digest}:
                return plan
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("the cached plan %s can't be read (%s): it is built again", plan, error)
            return None
        _log.warning("the cached plan %s is damaged: it is built again", plan)
        return None

    def put(self, key: str, data: bytes | Path) -> Path:
        """Keep a plan, copied if `data` is a file; returns the file that holds it now."""
        self._directory.mkdir(parents=True, exist_ok=True)
        plan, entry = self._paths(key)
        temporary = self._directory / f".{key}.{uuid.uuid4().hex}"
        try:
            if isinstance(data, bytes):
                temporary.write_bytes(data)
            else:
                shutil.copyfile(data, temporary)
            with open(temporary, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            content = {"size": temporary.stat().st_size, "sha256": digest}
            temporary.replace(plan)
            temporary.write_text(json.dumps(content))
            temporary.replace(entry)
        finally:
            temporary.unlink(missing_ok=True)
        return plan

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self._directory / f"{key}.plan", self._directory / f"{key}.json"
