"""Convert a SavedModel to one with TensorRT engines.

Engines are built ahead of time, on this machine, by TensorRT-RTX (no GPU needed) or by TensorRT for
the GPU at hand. What no engine can run stays TensorFlow, and the report says why.

  convert_saved_model --input_saved_model_dir=IN --output_saved_model_dir=OUT \\
      --precision_mode=FP16 --input_shapes=images:1x28x28x1:8x28x28x1:64x28x28x1

Exit codes: 0 converted; 1 can't be converted, said in one line; 2 wrong flags; 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from absl import flags

from tftrt_toolkit.assemble import check_output
from tftrt_toolkit.cli import common
from tftrt_toolkit.converter import TrtGraphConverterV2
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.params import ToolkitOptions

_INPUT = flags.DEFINE_string("input_saved_model_dir", None, "The SavedModel to convert.")
_OUTPUT = flags.DEFINE_string("output_saved_model_dir", None, "Where the converted model goes.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output directory if it exists.")
_TAGS = flags.DEFINE_list("input_saved_model_tags", ["serve"], "Tags of the model's meta graph.")
_SIGNATURES = flags.DEFINE_list(
    "signature_keys", ["serving_default"], "Signatures to convert; all others are kept as they are."
)
_PRECISION = flags.DEFINE_string("precision_mode", "FP32", "FP32 or FP16.")
_MINIMUM = flags.DEFINE_integer("minimum_segment_size", 3, "Least nodes of an engine.")
_MAX_ENGINES = flags.DEFINE_integer("max_engines", None, "At most so many engines; 0: no limit.")
_CACHED = flags.DEFINE_integer("maximum_cached_engines", 1, "Engines kept for a segment.")
_WORKSPACE = flags.DEFINE_integer("max_workspace_size_bytes", None, "Engine scratch memory.")
_RUNTIME_BUILD = flags.DEFINE_bool("allow_build_at_runtime", True, "Build missing engines later.")
_DYNAMIC = flags.DEFINE_bool(
    "use_dynamic_shape", True, "One engine for a range of shapes, not one for each shape."
)
_STRATEGY = flags.DEFINE_string(
    "dynamic_shape_profile_strategy", "Range", "Range, Optimal, Range+Optimal or "
    "ImplicitBatchModeCompatible."
)  # fmt: skip
_SHAPES = flags.DEFINE_list(
    "input_shapes", [], "NAME:MIN[:OPT[:MAX]], e.g. images:1x28x28x1:8x28x28x1:64x28x28x1."
)
_ENGINE = flags.DEFINE_string("engine", "auto", "auto, tensorrt or tensorrt_rtx.")
_CAPABILITIES = flags.DEFINE_list(
    "compute_capabilities", [], "GPUs to build for ahead of time, e.g. 8.6,8.9,12.0."
)
_NATIVE_OPS = flags.DEFINE_list("native_ops", [], "Op types to keep in TensorFlow.")
_NATIVE_NODES = flags.DEFINE_list("native_nodes", [], "Node-name patterns to keep in TensorFlow.")
_FULL = flags.DEFINE_bool("require_full_conversion", False, "Fail unless every node converts.")
_CACHE = flags.DEFINE_string("cache_dir", None, "Keep built engines here and use them again.")
_CHECK = flags.DEFINE_bool("check", True, "Compare each segment's ONNX with TensorFlow first.")
_REPORT = flags.DEFINE_string("report_json", None, "Write the report here as JSON.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Report what would convert; write no model.")
_DETAILED = flags.DEFINE_bool("detailed", False, "List each engine's ops in the summary.")


def convert() -> int:
    """Run the conversion that the flags describe; returns the exit code."""
    if not _OUTPUT.value and not _DRY_RUN.value:
        raise InvalidArgumentError("--output_saved_model_dir is missing: set it, or use --dry_run")
    converter = _converter()
    if _DRY_RUN.value:
        converter.analyze()
    else:
        # An output that can't be written is said before the work, not after.
        check_output(Path(_OUTPUT.value), _OVERWRITE.value)
        converter.convert()
        converter.save(_OUTPUT.value, overwrite=_OVERWRITE.value)
    report = converter.report()
    converter.summary(detailed=_DETAILED.value)
    if _REPORT.value:
        Path(_REPORT.value).write_text(json.dumps(report, indent=2) + "\n")
    if not _DRY_RUN.value:
        print(f"saved {_OUTPUT.value}", file=sys.stderr)
    return common.EXIT_OK


def _converter() -> TrtGraphConverterV2:
    keywords = {}
    if _WORKSPACE.value is not None:
        keywords["max_workspace_size_bytes"] = _WORKSPACE.value
    return TrtGraphConverterV2(
        input_saved_model_dir=_INPUT.value,
        input_saved_model_tags=_TAGS.value,
        use_dynamic_shape=_DYNAMIC.value,
        dynamic_shape_profile_strategy=_STRATEGY.value,
        precision_mode=_PRECISION.value,
        minimum_segment_size=_MINIMUM.value,
        maximum_cached_engines=_CACHED.value,
        allow_build_at_runtime=_RUNTIME_BUILD.value,
        options=ToolkitOptions(
            engine=_ENGINE.value,
            compute_capabilities=_CAPABILITIES.value,
            native_ops=_NATIVE_OPS.value,
            native_nodes=_NATIVE_NODES.value,
            max_engines=_MAX_ENGINES.value,
            input_shapes=common.parse_shapes(_SHAPES.value),
            require_full_conversion=_FULL.value,
            cache_dir=Path(_CACHE.value) if _CACHE.value else None,
            signature_keys=_SIGNATURES.value,
            check=_CHECK.value,
            show_progress=True,
        ),
        **keywords,
    )


def main() -> None:
    """Entry point of `scripts/convert_saved_model.py`."""
    common.run(convert, required=["input_saved_model_dir"])
