"""Write a calibration file: the ranges of a model's tensors, for INT8 and FP8.

  calibrate --input_saved_model_dir=IN --inputs=DIRECTORY --output=ranges.json
  calibrate --input_saved_model_dir=IN --input_fn=mydata.py:batches --output=ranges.json
  calibrate --merge=monday.json --merge=tuesday.json --output=ranges.json

Inputs are the .npz, TFRecord or image files of a directory, or what a Python function yields:
arrays, lists, tuples or dicts, named as FILE.py:FUNCTION or MODULE:FUNCTION. Only TensorFlow runs;
no TensorRT and no GPU are needed. --merge adds files of the same model up, and the new data to them
if there are any.

  convert_saved_model --precision_mode=INT8 --calibration_file=ranges.json ...

then needs no data. The flags that shape segments must be the same in both.

Exit codes: 0 written; 1 model, data or files can't be used, said in one line; 2 wrong flags;
130 interrupted, with nothing written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from absl import flags

from tftrt_toolkit.cli import common
from tftrt_toolkit.cli.input_function import import_function, limited
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.inputs import DataSource, InputDirectory
from tftrt_toolkit.model_calibration import added, calibrate_model, merge_calibrations
from tftrt_toolkit.params import ToolkitOptions, TrtConversionParams
from tftrt_toolkit.precision import save_calibrations

_MODEL = flags.DEFINE_string("input_saved_model_dir", None, "The SavedModel to calibrate.")
_INPUTS = flags.DEFINE_string("inputs", None, "Directory of .npz, TFRecord or image files.")
_FUNCTION = flags.DEFINE_string(
    "input_fn", None, "FILE.py:FUNCTION or MODULE:FUNCTION, which yields batches."
)
_MERGE = flags.DEFINE_multi_string(
    "merge", [], "A calibration file to add. May be given several times."
)
_OUTPUT = flags.DEFINE_string("output", None, "The calibration file; replaced if it is there.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Of records and images.", lower_bound=1)
_MAX_BATCHES = flags.DEFINE_integer("max_batches", None, "At most so many batches.", lower_bound=1)
_IMAGE_RANGE = flags.DEFINE_list("image_range", ["0", "1"], "Values of black and white in images.")
_TAGS = flags.DEFINE_list("input_saved_model_tags", ["serve"], "Tags of the model's meta graph.")
_SIGNATURE = flags.DEFINE_string("signature_key", "serving_default", "The signature to run.")
_MINIMUM = flags.DEFINE_integer("minimum_segment_size", 3, "Least nodes of an engine.")
_MAX_ENGINES = flags.DEFINE_integer("max_engines", None, "At most so many engines; 0: no limit.")
_DYNAMIC = flags.DEFINE_bool("use_dynamic_shape", True, "As the conversion will have it.")
_NATIVE_OPS = flags.DEFINE_list("native_ops", [], "Op types to keep in TensorFlow.")
_NATIVE_NODES = flags.DEFINE_list("native_nodes", [], "Node-name patterns to keep in TensorFlow.")


def run() -> int:
    """Calibrate or merge as the flags say; returns the exit code."""
    files = [Path(file) for file in _MERGE.value]
    data = _data()
    if (_MODEL.value is None) != (data is None):
        raise InvalidArgumentError(
            "--input_saved_model_dir goes with --inputs or --input_fn: give both, or only --merge"
        )
    if data is None and not files:
        raise InvalidArgumentError(
            "nothing to do: give --input_saved_model_dir and --inputs, or --merge"
        )
    output = Path(_OUTPUT.value)
    if not output.absolute().parent.is_dir():
        raise InvalidArgumentError(f"--output={output}: there is no directory {output.parent}")
    merged = merge_calibrations(files)  # files that don't fit are told before the work
    if data is not None:
        merged = added(merged, calibrate_model(_MODEL.value, data, **_settings()), _MODEL.value)
    save_calibrations(output, merged)
    for name, calibration in merged.items():
        print(
            f"{name}: {len(calibration.tensors)} tensors, {calibration.samples} samples in "
            f"{calibration.batches} batches"
        )
    print(f"saved {output}", file=sys.stderr)
    return common.EXIT_OK


def _data() -> DataSource | None:
    if _INPUTS.value and _FUNCTION.value:
        raise InvalidArgumentError("--inputs and --input_fn are both given: give one")
    if _FUNCTION.value:
        return limited(import_function(_FUNCTION.value), _MAX_BATCHES.value)
    if not _INPUTS.value:
        return None
    image_range = common.parse_image_range(_IMAGE_RANGE.value)
    return InputDirectory(Path(_INPUTS.value), _BATCH.value, image_range, _MAX_BATCHES.value)


def _settings() -> dict[str, Any]:
    return {
        "tags": _TAGS.value,
        "use_dynamic_shape": _DYNAMIC.value,
        "params": TrtConversionParams(minimum_segment_size=_MINIMUM.value),
        "options": ToolkitOptions(
            signature_keys=[_SIGNATURE.value],
            max_engines=_MAX_ENGINES.value,
            native_ops=_NATIVE_OPS.value,
            native_nodes=_NATIVE_NODES.value,
            show_progress=True,
        ),
    }


def main() -> None:
    """Entry point of `scripts/calibrate.py`."""
    common.run(run, required=["output"])
