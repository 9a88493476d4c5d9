"""Compare a converted SavedModel with its original: is it still the model?

Both run on the same inputs: files of a directory (.npz, TFRecord, images), or random ones. Each
output's errors, the agreement of classifiers and, with labels, accuracy are held against the
tolerances of the converted model's precision.

  validate_saved_model --original_saved_model_dir=IN --converted_saved_model_dir=OUT \\
      --inputs=DIRECTORY --report=report.html --report=report.json

Exit codes: 0 the model passes; 1 it fails, or can't be compared; 2 wrong flags; 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tftrt_toolkit.cli import common
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.validation import (
    ValidationOptions,
    ValidationReport,
    to_html,
    to_text,
    validate,
)

_ORIGINAL = flags.DEFINE_string("original_saved_model_dir", None, "The model before conversion.")
_CONVERTED = flags.DEFINE_string("converted_saved_model_dir", None, "The converted model.")
_INPUTS = flags.DEFINE_string(
    "inputs", None, "Directory of .npz, TFRecord or image files; without it inputs are random."
)
_REPORTS = flags.DEFINE_multi_string(
    "report", [], "Write the report here: *.txt, *.json or *.html. May be given several times."
)
_PREDICTIONS = flags.DEFINE_string("predictions", None, "One row an input: *.json or *.csv.")
_SIGNATURES = flags.DEFINE_list("signature_keys", [], "Signatures to compare; default: all.")
_TAGS = flags.DEFINE_list("saved_model_tags", ["serve"], "Tags of both models' meta graphs.")
_PRECISION = flags.DEFINE_string(
    "precision", None, "Whose tolerances apply; default: the converted model's own."
)
_TOLERANCES = flags.DEFINE_multi_string(
    "tolerance", [], "OUTPUT:LIMIT=VALUE, e.g. logits:min_snr_db=40; OUTPUT may be *."
)
_MAIN = flags.DEFINE_string("main_output", None, "The output that labels belong to.")
_CLASSIFIERS = flags.DEFINE_list("classifiers", None, "Outputs that hold class scores.")
_KEEP_GOING = flags.DEFINE_bool("keep_going", False, "Go on behind a batch that a model refuses.")
_ISOLATE = flags.DEFINE_bool("isolate", False, "Run each model in a process of its own.")
_EMULATE = flags.DEFINE_bool(
    "emulate", True, "Without a GPU, run each segment's typed ONNX, emulated, in its place."
)
_BLAME = flags.DEFINE_bool("blame", False, "Find the segments and nodes that add most error.")
_BENCHMARK = flags.DEFINE_integer("benchmark", 0, "Time so many calls of each model, in turns.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of random inputs and of resampling.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Of random inputs, records and images.")
_MAX_BATCHES = flags.DEFINE_integer("max_batches", None, "At most so many batches.")
_IMAGE_RANGE = flags.DEFINE_list("image_range", ["0", "1"], "Values of black and white in images.")

_WRITERS = {".txt": to_text, ".json": ValidationReport.to_json, ".html": to_html}


def run() -> int:
    """Validate as the flags say; returns the exit code."""
    common.check_suffixes(_REPORTS.value, _WRITERS)
    report = validate(_ORIGINAL.value, _CONVERTED.value, _INPUTS.value, options=_options())
    print(to_text(report), end="")
    common.write_reports(report, _REPORTS.value, _WRITERS)
    return common.EXIT_OK if report.passed else common.EXIT_REFUSED


def _options() -> ValidationOptions:
    return ValidationOptions(
        signature_keys=tuple(_SIGNATURES.value),
        tags=tuple(_TAGS.value),
        precision=_PRECISION.value,
        tolerances=parse_tolerances(_TOLERANCES.value),
        main_output=_MAIN.value,
        classifiers=None if _CLASSIFIERS.value is None else tuple(_CLASSIFIERS.value),
        keep_going=_KEEP_GOING.value,
        isolate=_ISOLATE.value,
        emulate=_EMULATE.value,
        blame=_BLAME.value,
        predictions=Path(_PREDICTIONS.value) if _PREDICTIONS.value else None,
        benchmark_runs=_BENCHMARK.value,
        seed=_SEED.value,
        batch_size=_BATCH.value,
        max_batches=_MAX_BATCHES.value,
        image_range=common.parse_image_range(_IMAGE_RANGE.value),
    )


def parse_tolerances(entries: Sequence[str]) -> dict[str, dict[str, float]]:
    """Parse `OUTPUT:LIMIT=VALUE` entries. Raises InvalidArgumentError."""
    found: dict[str, dict[str, float]] = {}
    for entry in entries:
        output, colon, rest = entry.rpartition(":")
        limit, equals, value = rest.partition("=")
        try:
            number = float(value)
        except ValueError:
            equals = ""
        if not (output and colon and equals):
            raise InvalidArgumentError(
                f"--tolerance={entry} is not of the form OUTPUT:LIMIT=VALUE, "
                "e.g. logits:min_snr_db=40"
            )
        found.setdefault(output, {})[limit] = number
    return found


def main() -> None:
    """Entry point of `scripts/validate_saved_model.py`."""
    common.run(run, required=["original_saved_model_dir", "converted_saved_model_dir"])
