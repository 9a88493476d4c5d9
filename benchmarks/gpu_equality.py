"""What converted models compute on a GPU, executor by executor, beside TensorFlow on the CPU.

    python -m benchmarks.gpu_equality --output=benchmarks/results/gpu_equality.json

TF32 is off in TensorFlow, XLA and ONNX Runtime, so that FP32 is FP32. A figure is the greatest
difference as a share of the scale. It may be the validator's `max_scaled` of the precision,
or twice what another runtime of the same graph shows here: for XLA that is TensorFlow's own use of
it, for ONNX Runtime the same typed ONNX on the CPU. Ends with 1 if one is greater.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import app, flags

from benchmarks.gpu_columns import Columns, convert, machine
from tftrt_toolkit.validation.tolerances import default_tolerance

_MODELS = flags.DEFINE_list(
    "models", ["resnet50", "mobilenetv2", "efficientnetb0", "bert", "gpt"], "Of tests/models/zoo."
)
_BATCHES = flags.DEFINE_list("batches", ["1", "8"], "Batch sizes.")
_PRECISIONS = flags.DEFINE_list("precisions", ["FP32", "FP16"], "Precisions to convert to.")
_OUTPUT = flags.DEFINE_string("output", None, "Results as JSON.", required=True)

Row = dict[str, Any]


def row(columns: Columns, directory: Path, seconds: float, precision: str, batch: int) -> Row:
    found, failures = columns.deviations(columns.subject(directory, seconds), batch)
    on_cpu = columns.deviation_on_cpu(directory, batch)
    limit = default_tolerance(precision).max_scaled
    limits = {
        "native": default_tolerance("FP32").max_scaled,
        "xla": max(default_tolerance("FP32").max_scaled, 2 * found["tensorflow_xla"]),
        "onnxruntime": max(limit, 2 * on_cpu),
    }
    missed = [name for name in limits if not found.get(name, float("inf")) <= limits[name]]
    return {
        "difference": found | {"onnxruntime on the CPU": on_cpu},
        "limit": limits,
        "missed": missed,
        "failures": failures,
    }


def rows_of(name: str, scratch: Path) -> list[Row]:
    columns = Columns(name, scratch, rounds=1, least=0.0)
    rows = []
    for precision in _PRECISIONS.value:
        directory = scratch / f"{name}_{precision}"
        seconds = convert(columns.saved, directory, precision)
        for batch in map(int, _BATCHES.value):
            key = {"model": name, "precision": precision, "batch": batch}
            rows.append(key | row(columns, directory, seconds, precision, batch))
            print(json.dumps(rows[-1]), flush=True)
    return rows


def main(argv: list[str]) -> int:
    del argv
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # read when cuBLAS and cuDNN are first used
    result: dict[str, Any] = {"command": "python -m benchmarks.gpu_equality --output=FILE"}
    result |= machine()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    with tempfile.TemporaryDirectory() as scratch:
        result["rows"] = [one for name in _MODELS.value for one in rows_of(name, Path(scratch))]
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
    missed = sum(bool(one["missed"]) for one in result["rows"])
    print(f"{len(result['rows']) - missed} of {len(result['rows'])} rows within their limits")
    return int(missed > 0)


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)))
