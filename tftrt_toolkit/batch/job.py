"""One conversion of a batch: what is asked for, and whether its inputs have changed since."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_toolkit.inputs import InputDirectory
from tftrt_toolkit.params import ToolkitOptions, TrtConversionParams
from tftrt_toolkit.validation import Gate
from tftrt_toolkit.version import __version__


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """Where ranges come from: data, a calibration file, or both.

    With both, the first job calibrates and writes the file, and all others take it.
    """

    data: InputDirectory | None = None
    file: Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One model in one precision.

    name: unique in the batch. memory_bytes: what it needs, None: estimated. timeout_seconds: killed
    after so long, None: never. gate: what it must pass to be saved, None: nothing.
    """

    name: str
    saved_model: Path
    output: Path
    params: TrtConversionParams
    options: ToolkitOptions
    tags: tuple[str, ...] = ("serve",)
    use_dynamic_shape: bool = True
    strategy: str = "Range"
    calibration: Calibration | None = None
    gate: Gate | None = None
    memory_bytes: int | None = None
    timeout_seconds: float | None = None


# What a job may use says nothing about what it makes.
_LIMITS = ("memory_bytes", "timeout_seconds")


def fingerprint(job: Job) -> str:
    """SHA-256, in hex, over all that decides the job's result; files count by size and time."""
    settings = dataclasses.asdict(job)
    directories = [job.saved_model]
    if job.options.precision_file is not None:
        directories.append(Path(job.options.precision_file))
    if job.calibration is not None:
        # A file that is written from data says no more than the data.
        data = job.calibration.data
        directories.append(data.path if data else job.calibration.file or Path())
    if job.gate is not None and job.gate.input_fn is not None:
        directories.append(Path(job.gate.input_fn))
    content: dict[str, Any] = {
        "job": {name: value for name, value in settings.items() if name not in _LIMITS},
        "versions": [__version__, tf.__version__],
        "files": [list(_files(directory)) for directory in directories],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _files(directory: Path) -> Iterator[tuple[str, int, int]]:
    """(relative path, bytes, time of change in ns) of each file, in the order of paths.

    Of a file, instead of a directory, just its own.
    """
    for path in [directory] if directory.is_file() else sorted(directory.rglob("*")):
        if path.is_file():
            found = os.stat(path)
            yield str(path.relative_to(directory)), found.st_size, found.st_mtime_ns
