"""Convert every model of a manifest: in parallel, within limits, with one report.

  batch_convert --manifest=nightly.yaml --cores=8 --memory_gb=32 \\
      --report=report.html --report=report.json

The manifest is a YAML file; paths in it are relative to where it is:

  output_dir: converted
  defaults: {compute_capabilities: [8.9]}
  models:
    - saved_model: models/resnet50
      precision: [FP16, INT8]
      input_shapes: {images: 1x224x224x3:8x224x224x3:32x224x224x3}
      calibration: {inputs: data/train, max_batches: 50}
      validation: {inputs: data/held_out, tolerances: {"*": {min_snr_db: 30}}}

A model that fails stops no other. Started again, after a kill too, it goes on where it was: models
that are done, and those that can't be converted, are left alone until they or the manifest change.
Each model's messages are in OUTPUT_DIR/.batch/NAME.log.

Exit codes: 0 all models are there; 1 some are not, or an output is in the way; 2 the flags or the
manifest are wrong; 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from tftrt_toolkit.batch import BatchReport, Limits, load_manifest, run_batch, to_html, to_text
from tftrt_toolkit.batch.state import Record
from tftrt_toolkit.cli import common

_GIB = 2**30
_MANIFEST = flags.DEFINE_string("manifest", None, "The YAML file that names the models.")
_CORES = flags.DEFINE_integer(
    "cores", None, "Cores of all models together; default: the manifest's, else all.", lower_bound=1
)
_CORES_PER_MODEL = flags.DEFINE_integer(
    "cores_per_model", None, "Cores of each model; default: the manifest's, else 1.", lower_bound=1
)
_MEMORY = flags.DEFINE_float(
    "memory_gb", None, "GiB of all processes together; default: the manifest's, else no limit.",
    lower_bound=0.0,
)  # fmt: skip
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Replace outputs that an earlier run of this batch didn't write."
)
_RAY = flags.DEFINE_string(
    "ray_address", None, "Run on this Ray cluster, e.g. auto; its machines share the directories."
)
_REPORTS = flags.DEFINE_multi_string(
    "report", [], "Write the report here: *.txt, *.json or *.html. May be given several times."
)

_WRITERS = {".txt": to_text, ".json": BatchReport.to_json, ".html": to_html}


def run() -> int:
    """Convert as the flags say; returns the exit code."""
    common.check_suffixes(_REPORTS.value, _WRITERS)
    limits = Limits(
        cores=_CORES.value,
        cores_per_model=_CORES_PER_MODEL.value,
        memory_bytes=None if _MEMORY.value is None else int(_MEMORY.value * _GIB),
    )
    report = run_batch(
        load_manifest(Path(_MANIFEST.value)),
        limits,
        overwrite=_OVERWRITE.value,
        ray_address=_RAY.value,
        progress=_tell,
    )
    print(to_text(report), end="")
    common.write_reports(report, _REPORTS.value, _WRITERS)
    return common.EXIT_OK if report.passed else common.EXIT_REFUSED


def _tell(record: Record, done: int, total: int) -> None:
    outcome = record.error or f"converted in {record.seconds:.1f} s"
    print(f"[{done}/{total}] {record.name}: {outcome}", file=sys.stderr, flush=True)


def main() -> None:
    """Entry point of `scripts/batch_convert.py`."""
    common.run(run, required=["manifest"])
