"""Build plans for more GPUs into a model that is converted already.

  build_engines --saved_model_dir=CONVERTED --compute_capabilities=8.6,12.0

The shapes are those of the plans that the model has. With --engine=tensorrt, on the target machine,
it builds for the GPU at hand. Engines that the model has stay; the model works at any moment.

Exit codes: 0 done; 1 can't be built, said in one line; 2 wrong flags; 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from tftrt_toolkit.cli import common
from tftrt_toolkit.engine import BuildConfig
from tftrt_toolkit.inspection.text import size
from tftrt_toolkit.params import FLAVOURS
from tftrt_toolkit.targets import add_plans

_MODEL = flags.DEFINE_string("saved_model_dir", None, "The converted SavedModel; it is changed.")
_ENGINE = flags.DEFINE_enum("engine", "auto", FLAVOURS, "Which TensorRT builds.")
_CAPABILITIES = flags.DEFINE_list(
    "compute_capabilities", [], "GPUs to build for, e.g. 8.6,12.0; default: the builder's own set."
)
_CACHE = flags.DEFINE_string("cache_dir", None, "Keep built engines here and use them again.")


def build() -> int:
    """Build as the flags say; returns the exit code."""
    config = BuildConfig(
        flavour=_ENGINE.value,
        compute_capabilities=tuple(_CAPABILITIES.value),
        cache_dir=Path(_CACHE.value) if _CACHE.value else None,
    )
    for segment, plans in add_plans(_MODEL.value, config).items():
        for plan in plans:
            targets = ", ".join(plan.targets)
            print(f"{segment}: {plan.flavour} {plan.version} for {targets}, {size(plan.size)}")
    print(f"saved {_MODEL.value}", file=sys.stderr)
    return common.EXIT_OK


def main() -> None:
    """Entry point of `scripts/build_engines.py`."""
    common.run(build, required=["saved_model_dir"])
