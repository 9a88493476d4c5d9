"""Time a converted SavedModel beside its original, in turns, and compare size and accuracy.

  benchmark_saved_model --original_saved_model_dir=IN --converted_saved_model_dir=OUT \\
      --inputs=DIRECTORY --batch_sizes=1,8,32
  benchmark_saved_model --original_saved_model_dir=IN --against=tflite

Each model has a process of its own; calls alternate, so that all see the same noise. A call is
timed from NumPy inputs to NumPy outputs. --against=tflite makes a TensorFlow Lite model of the
original, which runs on the CPU, for those who choose between the two.

Exit codes: 0 measured; 1 a model, or the inputs, can't be used, said in one line; 2 wrong flags;
130 interrupted.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from tftrt_toolkit.benchmark import BenchmarkOptions, BenchmarkReport, benchmark, to_text
from tftrt_toolkit.cli import common
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.inputs import InputDirectory
from tftrt_toolkit.validation.tflite import PRECISIONS

_ORIGINAL = flags.DEFINE_string("original_saved_model_dir", None, "The model before conversion.")
_CONVERTED = flags.DEFINE_string("converted_saved_model_dir", None, "The converted model.")
_AGAINST = flags.DEFINE_list("against", [], "tflite: measure a TensorFlow Lite model too.")
_TFLITE = flags.DEFINE_enum(
    "tflite_precision", "FP32", PRECISIONS, "Of the TensorFlow Lite model; INT8 is dynamic range."
)
_INPUTS = flags.DEFINE_string(
    "inputs", None, "Directory of .npz, TFRecord or image files; without it inputs are random."
)
_BATCH = flags.DEFINE_integer("batch_size", 8, "Of records and images.", lower_bound=1)
_SIZES = flags.DEFINE_list("batch_sizes", [], "Batch sizes to time; default: as inputs come.")
_MAX_BATCHES = flags.DEFINE_integer("max_batches", None, "Compare outputs on at most so many.")
_IMAGE_RANGE = flags.DEFINE_list("image_range", ["0", "1"], "Values of black and white in images.")
_RUNS = flags.DEFINE_integer("runs", 50, "Timed calls of each model at each batch size.")
_SIGNATURE = flags.DEFINE_string("signature_key", "serving_default", "The signature to call.")
_TAGS = flags.DEFINE_list("saved_model_tags", ["serve"], "Tags of the models' meta graphs.")
_REPORTS = flags.DEFINE_multi_string(
    "report", [], "Write the report here: *.txt or *.json. May be given several times."
)

_WRITERS = {".txt": to_text, ".json": BenchmarkReport.to_json}


def run() -> int:
    """Measure as the flags say; returns the exit code."""
    common.check_suffixes(_REPORTS.value, _WRITERS)
    if _CONVERTED.value is None and not _AGAINST.value:
        raise InvalidArgumentError(
            "nothing to compare with: give --converted_saved_model_dir or --against=tflite"
        )
    inputs = None
    if _INPUTS.value:
        image_range = common.parse_image_range(_IMAGE_RANGE.value)
        inputs = InputDirectory(Path(_INPUTS.value), _BATCH.value, image_range)
    report = benchmark(
        _ORIGINAL.value,
        _CONVERTED.value,
        inputs,
        against=_AGAINST.value,
        options=BenchmarkOptions(
            signature_key=_SIGNATURE.value,
            tags=tuple(_TAGS.value),
            runs=_RUNS.value,
            batch_sizes=_sizes(),
            tflite_precision=_TFLITE.value,
            max_batches=_MAX_BATCHES.value,
        ),
    )
    print(to_text(report), end="")
    common.write_reports(report, _REPORTS.value, _WRITERS)
    return common.EXIT_OK


def _sizes() -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in _SIZES.value)
    except ValueError as error:
        raise InvalidArgumentError(
            f"--batch_sizes={','.join(_SIZES.value)} is no list of numbers: write it like 1,8,32"
        ) from error


def main() -> None:
    """Entry point of `scripts/benchmark_saved_model.py`."""
    common.run(run, required=["original_saved_model_dir"])
