"""Run a SavedModel, converted or not, on pictures or .npz files; predictions as JSON or CSV.

  run_inference --saved_model_dir=M --inputs=cat.jpg --inputs=holiday/ --application=ResNet50
  run_inference --saved_model_dir=M --inputs=data.npz --output=predictions.csv

Pictures are cropped, resized and scaled as the Keras application takes them; without --application
they are stretched to the input's shape and scaled to --image_range. A .npz file holds one batch,
arrays by input name. Of outputs that look like class scores the best classes are told, of others
all values; --top=0 tells all values of all.

Exit codes: 0 done; 1 model or inputs can't be used, said in one line; 2 wrong flags;
130 interrupted, with no file written.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from tftrt_toolkit.cli import common
from tftrt_toolkit.images import load_labels
from tftrt_toolkit.inference import InferenceOptions, predict, to_csv, to_json
from tftrt_toolkit.validation.tflite import open_model

_MODEL = flags.DEFINE_string("saved_model_dir", None, "The SavedModel, or a .tflite file.")
_INPUTS = flags.DEFINE_multi_string(
    "inputs", None, "A picture, a .npz file, or a directory of them. May be given several times."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Write *.json or *.csv here; default: JSON on the standard output."
)
_APPLICATION = flags.DEFINE_string(
    "application", None, "Keras application whose preprocessing pictures get, e.g. VGG16."
)
_TOP = flags.DEFINE_integer("top", 5, "Best classes to tell; 0: all values.", lower_bound=0)
_LABELS = flags.DEFINE_string(
    "labels", None, "Class names: a text file, one a line, or Keras's imagenet_class_index.json."
)
_SIGNATURE = flags.DEFINE_string("signature_key", "serving_default", "The signature to call.")
_TAGS = flags.DEFINE_list("saved_model_tags", ["serve"], "Tags of the model's meta graph.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Pictures in a batch.", lower_bound=1)
_IMAGE_RANGE = flags.DEFINE_list("image_range", ["0", "1"], "Values of black and white in images.")

_WRITERS = {".json": to_json, ".csv": to_csv}


def run() -> int:
    """Predict as the flags say; returns the exit code."""
    reports = [_OUTPUT.value] if _OUTPUT.value else []
    common.check_suffixes(reports, _WRITERS, "output")
    options = InferenceOptions(
        signature_key=_SIGNATURE.value,
        application=_APPLICATION.value,
        image_range=common.parse_image_range(_IMAGE_RANGE.value),
        batch_size=_BATCH.value,
        top=_TOP.value,
        labels=load_labels(_LABELS.value) if _LABELS.value else None,
    )
    model = open_model(Path(_MODEL.value), tuple(_TAGS.value))
    rows = list(predict(model, [Path(path) for path in _INPUTS.value], options))
    if not reports:
        print(to_json(rows), end="")
        return common.EXIT_OK
    common.write_reports(rows, reports, _WRITERS)
    print(f"saved {len(rows)} predictions to {_OUTPUT.value}", file=sys.stderr)
    return common.EXIT_OK


def main() -> None:
    """Entry point of `scripts/run_inference.py`."""
    common.run(run, required=["saved_model_dir", "inputs"])
