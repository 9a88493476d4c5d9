"""The manifest: a YAML file of the models to convert. Each error names file, model and key.

    output_dir: converted            # each model goes to output_dir/<name>
    cache_dir: engine_cache          # built engines, shared by all models and later runs
    memory_gb: 8                     # of all processes together
    defaults: {compute_capabilities: [8.9]}
    models:
      - saved_model: models/resnet50
        precision: [FP16, INT8]      # two conversions, resnet50_fp16 and resnet50_int8
        input_shapes: {images: 1x224x224x3:8x224x224x3:32x224x224x3}
        calibration: {inputs: data/train, max_batches: 50}
        validation: {inputs: data/held_out, tolerances: {"*": {min_snr_db: 30}}}

Paths are relative to the manifest's own directory. The keys of a model are in `entry.py`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tftrt_toolkit.batch.entry import Surroundings, jobs_of
from tftrt_toolkit.batch.job import Job
from tftrt_toolkit.batch.section import (
    Section,
    amount,
    at,
    entries,
    mapping,
    path_in,
    positive,
    read_yaml,
    unchanged,
)
from tftrt_toolkit.errors import InvalidArgumentError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A manifest that can be run. The limits are None where it sets none."""

    path: Path
    output_dir: Path
    jobs: tuple[Job, ...]
    cores: int | None = None
    cores_per_model: int | None = None
    memory_bytes: int | None = None


def load_manifest(path: Path | str) -> Manifest:
    """Read and check a manifest; raises InvalidArgumentError, in one line, if it can't be used."""
    path = Path(path)
    with at(str(path)):
        return _manifest(path, read_yaml(path))


def _manifest(path: Path, section: Section) -> Manifest:
    folder = path.absolute().parent
    output_dir = section.take("output_dir", path_in(folder))
    surroundings = Surroundings(
        folder,
        output_dir,
        cache_dir=section.take("cache_dir", path_in(folder), output_dir / ".engine_cache"),
        defaults=section.take("defaults", mapping(unchanged), {}),
    )
    models = section.take("models", entries)
    limits = {
        "cores": section.take("cores", positive, None),
        "cores_per_model": section.take("cores_per_model", positive, None),
    }
    memory = section.take("memory_gb", amount, None)
    section.finish()
    jobs = [job for index, one in enumerate(models) for job in jobs_of(index, one, surroundings)]
    _check_unique(jobs)
    memory_bytes = None if memory is None else int(memory * GIB)
    return Manifest(path, output_dir, tuple(jobs), memory_bytes=memory_bytes, **limits)


def _check_unique(jobs: Sequence[Job]) -> None:
    (name, count), *_ = Counter(job.name for job in jobs).most_common(1)
    if count > 1:
        raise InvalidArgumentError(f"{count} models are named {name!r}: give each its own name")
