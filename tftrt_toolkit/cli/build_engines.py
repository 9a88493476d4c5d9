"""Build plans for more GPUs into a model that is converted already, or from an ONNX file.

  build_engines --saved_model_dir=CONVERTED --compute_capabilities=8.6,12.0
  build_engines --onnx=FILE --output_dir=OUT --precision_mode=FP16 --input_shapes=x:1x8:4x8:16x8

For a converted model the shapes are those of the plans that it has. With --engine=tensorrt, on the
target machine, it builds for the GPU at hand. Engines that the model has stay; the model works at
any moment. From an ONNX file of any framework come plan files, and the ONNX with its precision.

Exit codes: 0 done; 1 can't be built, said in one line; 2 wrong flags; 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from tftrt_toolkit.artifacts import Plan
from tftrt_toolkit.cli import common
from tftrt_toolkit.engine import BuildConfig
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.inspection.text import size
from tftrt_toolkit.onnx_engines import build_onnx
from tftrt_toolkit.params import FLAVOURS
from tftrt_toolkit.shape_ranges import parse_shapes
from tftrt_toolkit.targets import add_plans

_MODEL = flags.DEFINE_string("saved_model_dir", None, "The converted SavedModel; it is changed.")
_ENGINE = flags.DEFINE_enum("engine", "auto", FLAVOURS, "Which TensorRT builds.")
_CAPABILITIES = flags.DEFINE_list(
    "compute_capabilities", [], "GPUs to build for, e.g. 8.6,12.0; default: the builder's own set."
)
_CACHE = flags.DEFINE_string("cache_dir", None, "Keep built engines here and use them again.")


_ONNX = flags.DEFINE_string("onnx", None, "An ONNX file to build from, instead of a model.")
_OUTPUT = flags.DEFINE_string("output_dir", None, "With --onnx: where plans and ONNX go.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "With --onnx: replace the output directory.")
_PRECISION = flags.DEFINE_string("precision_mode", "FP32", "With --onnx: the engines' precision.")
_SHAPES = flags.DEFINE_list(
    "input_shapes", [], "With --onnx: NAME:MIN[:OPT[:MAX]] of inputs whose shape isn't fixed."
)
_CALIBRATION = flags.DEFINE_string(
    "calibration_inputs", None, "With --onnx: directory of .npz, TFRecord or image files."
)


def build() -> int:
    """Build as the flags say; returns the exit code."""
    if bool(_MODEL.value) == bool(_ONNX.value):
        raise InvalidArgumentError("give either --saved_model_dir or --onnx")
    config = BuildConfig(
        flavour=_ENGINE.value,
        compute_capabilities=tuple(_CAPABILITIES.value),
        cache_dir=Path(_CACHE.value) if _CACHE.value else None,
    )
    if _ONNX.value:
        _build_onnx(config)
    else:
        for segment, plans in add_plans(_MODEL.value, config).items():
            for plan in plans:
                print(f"{segment}: {_told(plan)}")
    print(f"saved {_OUTPUT.value or _MODEL.value}", file=sys.stderr)
    return common.EXIT_OK


def _build_onnx(config: BuildConfig) -> None:
    if not _OUTPUT.value:
        raise InvalidArgumentError("--onnx needs --output_dir: the directory that plans go to")
    found = build_onnx(
        _ONNX.value,
        _OUTPUT.value,
        precision_mode=_PRECISION.value,
        input_shapes=parse_shapes(_SHAPES.value),
        calibration_data=_CALIBRATION.value,
        config=config,
        overwrite=_OVERWRITE.value,
    )
    for name, plan in found.plans.items():
        print(f"{name}: {_told(plan)}")
    if found.relative_error is not None:
        print(f"relative error of {_PRECISION.value}, emulated: {found.relative_error:.2g}")


def _told(plan: Plan) -> str:
    return f"{plan.flavour} {plan.version} for {', '.join(plan.targets)}, {size(plan.size)}"


def main() -> None:
    """Entry point of `scripts/build_engines.py`."""
    common.run(build)
