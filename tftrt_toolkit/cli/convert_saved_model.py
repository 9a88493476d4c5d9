"""Convert a SavedModel to one with TensorRT engines.

Engines are built ahead of time, on this machine, by TensorRT-RTX (no GPU needed) or by TensorRT for
the GPU at hand. What no engine can run stays TensorFlow, and the report says why.

  convert_saved_model --input_saved_model_dir=IN --output_saved_model_dir=OUT \\
      --precision_mode=FP16 --input_shapes=images:1x28x28x1:8x28x28x1:64x28x28x1

INT8 and FP8 need representative inputs, as files, or a calibration file; FP16 takes them:

  convert_saved_model --input_saved_model_dir=IN --output_saved_model_dir=OUT \\
      --precision_mode=INT8 --calibration_data=DIRECTORY --save_calibration_file=ranges.json

Exit codes: 0 converted; 1 can't be converted, said in one line; 2 wrong flags; 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from absl import flags

from tftrt_toolkit.assemble import check_output
from tftrt_toolkit.cli import common
from tftrt_toolkit.converter import TrtGraphConverterV2
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.files import write_text
from tftrt_toolkit.inputs import InputDirectory
from tftrt_toolkit.params import LabelledMetric, ToolkitOptions
from tftrt_toolkit.shape_ranges import parse_shapes

_INPUT = flags.DEFINE_string("input_saved_model_dir", None, "The SavedModel to convert.")
_OUTPUT = flags.DEFINE_string("output_saved_model_dir", None, "Where the converted model goes.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output directory if it exists.")
_TAGS = flags.DEFINE_list("input_saved_model_tags", ["serve"], "Tags of the model's meta graph.")
_SIGNATURES = flags.DEFINE_list(
    "signature_keys", ["serving_default"], "Signatures to convert; all others are kept as they are."
)
_PRECISION = flags.DEFINE_string("precision_mode", "FP32", "FP32, FP16, BF16, INT8, FP8 or INT4.")
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
_DATA = flags.DEFINE_string(
    "calibration_data", None, "Directory of .npz, TFRecord or image files to calibrate on."
)
_FILE = flags.DEFINE_string(
    "calibration_file", None, "What an earlier conversion calibrated, in the place of data."
)
_SAVE_FILE = flags.DEFINE_string("save_calibration_file", None, "Write what is calibrated here.")
_USE_CALIBRATION = flags.DEFINE_bool(
    "use_calibration", True, "False: INT8 ranges come from the model's own fake quantization."
)
_CALIBRATOR = flags.DEFINE_string(
    "calibrator", "sample_max", "sample_max, max, percentile, entropy, mse or auto."
)
_REST = flags.DEFINE_string(
    "rest_precision", "FP16", "What runs beside quantized nodes: FP16, BF16 or FP32."
)
_ATTENTION = flags.DEFINE_bool("quantize_attention", False, "Quantize products of activations too.")
_PRECISION_FILE = flags.DEFINE_string(
    "precision_file", None, "Nodes to keep in a higher precision, a line each."
)
_SAVE_PRECISION = flags.DEFINE_string(
    "save_precision_file", None, "Write the nodes kept in a higher precision here."
)
_MAX_ERROR = flags.DEFINE_float(
    "max_error", None, "Keep the fewest nodes in a higher precision for which the outputs' "
    "relative error, or with --labelled_data the loss of top-1 accuracy, is at most this."
)  # fmt: skip
_LABELLED = flags.DEFINE_string("labelled_data", None, "Directory of files with labels.")
_OUTPUT_NAME = flags.DEFINE_string("main_output", None, "The output that labels belong to.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Of records and images.")
_IMAGE_RANGE = flags.DEFINE_list("image_range", ["0", "1"], "Values of black and white in images.")
_FALLBACK = flags.DEFINE_bool(
    "typed_fallback", False, "TensorFlow rounds as the engines do where it runs in their place."
)
_SPARSE = flags.DEFINE_bool("sparse_weights", False, "Use and report weights of 2:4 sparsity.")
_KERNELS = flags.DEFINE_bool(
    "report_kernels", False, "Report which quantized nodes reached an INT8 or FP8 kernel."
)
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
        _convert(converter)
        converter.save(_OUTPUT.value, overwrite=_OVERWRITE.value)
    report = converter.report()
    converter.summary(detailed=_DETAILED.value)
    if _REPORT.value:
        write_text(_REPORT.value, json.dumps(report, indent=2) + "\n")
    if not _DRY_RUN.value:
        print(f"saved {_OUTPUT.value}", file=sys.stderr)
    return common.EXIT_OK


def _convert(converter: TrtGraphConverterV2) -> None:
    data = _directory(_DATA.value)
    converter.convert(data)
    if data is not None and converter.calibration_pending:
        converter.build(data)  # the data tell the shapes too
    if _SAVE_FILE.value:
        converter.save_calibration_file(_SAVE_FILE.value)
    if _SAVE_PRECISION.value:
        converter.save_precision_file(_SAVE_PRECISION.value)


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
        use_calibration=_USE_CALIBRATION.value,
        allow_build_at_runtime=_RUNTIME_BUILD.value,
        options=_options(),
        **keywords,
    )


def _options() -> ToolkitOptions:
    return ToolkitOptions(
        engine=_ENGINE.value,
        compute_capabilities=_CAPABILITIES.value,
        native_ops=_NATIVE_OPS.value,
        native_nodes=_NATIVE_NODES.value,
        max_engines=_MAX_ENGINES.value,
        input_shapes=parse_shapes(_SHAPES.value),
        require_full_conversion=_FULL.value,
        cache_dir=_path(_CACHE.value),
        signature_keys=_SIGNATURES.value,
        check=_CHECK.value,
        calibrator=_CALIBRATOR.value,
        calibration_file=_path(_FILE.value),
        rest_precision=_REST.value,
        quantize_attention=_ATTENTION.value,
        precision_file=_path(_PRECISION_FILE.value),
        max_error=_MAX_ERROR.value,
        metric=_metric(),
        typed_fallback=_FALLBACK.value,
        sparse_weights=_SPARSE.value,
        report_kernels=_KERNELS.value,
        show_progress=True,
    )


def _metric() -> LabelledMetric | None:
    data = _directory(_LABELLED.value)
    return LabelledMetric(function=top1, data=data, output=_OUTPUT_NAME.value) if data else None


def top1(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Whether each input's label [batch] has the greatest score [batch, classes]."""
    return scores.argmax(axis=-1) == labels


def _directory(path: str | None) -> InputDirectory | None:
    image_range = common.parse_image_range(_IMAGE_RANGE.value)
    return InputDirectory(Path(path), _BATCH.value, image_range) if path else None


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None


def main() -> None:
    """Entry point of `scripts/convert_saved_model.py`."""
    common.run(convert, required=["input_saved_model_dir"])
