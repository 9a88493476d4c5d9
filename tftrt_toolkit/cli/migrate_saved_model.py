"""Bring a SavedModel that an older TF-TRT converted to today's TensorFlow.

  migrate_saved_model --input_saved_model_dir=OLD --output_saved_model_dir=PLAIN
  migrate_saved_model --input_saved_model_dir=OLD --output_saved_model_dir=NEW --to=engines

The first makes a plain SavedModel, without engines or TF-TRT's ops. The second converts that one
anew, with the precision and shape strategy that it had, but for the flags given here.

Exit codes: 0 done; 1 can't be done, said in one line; 2 wrong flags; 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Any

from absl import flags

from tftrt_toolkit.cli import common
from tftrt_toolkit.compat import migrate, restore_native
from tftrt_toolkit.params import ToolkitOptions
from tftrt_toolkit.shape_ranges import parse_shapes

_INPUT = flags.DEFINE_string("input_saved_model_dir", None, "The SavedModel with TRTEngineOps.")
_OUTPUT = flags.DEFINE_string("output_saved_model_dir", None, "Where the model goes.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output directory if it exists.")
_TO = flags.DEFINE_enum("to", "plain", ["plain", "engines"], "A plain model, or new engines.")
_PRECISION = flags.DEFINE_string("precision_mode", None, "Other than the model had.")
_SHAPES = flags.DEFINE_list(
    "input_shapes", [], "With --to=engines, NAME:MIN[:OPT[:MAX]], e.g. x:1x28x28x1:8x28x28x1."
)


def run() -> int:
    """Migrate as the flags say; returns the exit code."""
    if _TO.value == "plain":
        restored = restore_native(_INPUT.value, _OUTPUT.value, overwrite=_OVERWRITE.value)
        print(f"{len(restored.engines)} engines became TensorFlow functions", file=sys.stderr)
    else:
        converter = migrate(_INPUT.value, _OUTPUT.value, overwrite=_OVERWRITE.value, **_arguments())
        converter.summary(detailed=False)
    print(f"saved {_OUTPUT.value}", file=sys.stderr)
    return common.EXIT_OK


def _arguments() -> dict[str, Any]:
    shapes = parse_shapes(_SHAPES.value)
    arguments: dict[str, Any] = {"options": ToolkitOptions(input_shapes=shapes)}
    if shapes:
        arguments["use_dynamic_shape"] = True
    if _PRECISION.value:
        arguments["precision_mode"] = _PRECISION.value
    return arguments


def main() -> None:
    """Entry point of `scripts/migrate_saved_model.py`."""
    common.run(run, required=["input_saved_model_dir", "output_saved_model_dir"])
