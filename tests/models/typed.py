"""Converts one model of the zoo in every typed precision; a process of its own for each model.

python -m tests.models.typed NAME SAVED RECORD.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.models import zoo

PRECISIONS = ("FP16", "BF16", "INT8", "FP8")
COMPUTE_CAPABILITIES = ("8.9", "12.0")
BUILDER_REFUSED = "builder refuses"


def convert(name: str, precision: str, saved: Path) -> dict[str, Any]:
    """Convert, calibrated on inputs of all sizes; what the builder made of it."""
    from tftrt_toolkit import ToolkitOptions, TrtGraphConverterV2

    model = zoo.MODELS[name]

    def inputs() -> Iterator[dict[str, np.ndarray]]:
        yield from (model.inputs(size=size) for size in ("min", "opt", "max"))

    start = time.monotonic()
    converter = TrtGraphConverterV2(
        input_saved_model_dir=str(saved),
        use_dynamic_shape=model.dynamic,
        precision_mode=precision,
        options=ToolkitOptions(
            engine="tensorrt_rtx",
            compute_capabilities=COMPUTE_CAPABILITIES,
            input_shapes={} if model.realistic else model.shapes,
            report_kernels=True,
        ),
    )
    converter.convert(calibration_input_fn=inputs)
    if model.realistic:
        converter.build(inputs)
    report = converter.report()
    kernels = [segment["kernels"] for segment in report["segments"] if segment["kernels"]]
    return {
        "seconds": round(time.monotonic() - start, 1),
        "plans": [len(segment["plans"]) for segment in report["segments"]],
        "refused": [
            entry["reason"] for entry in report["refused"] if BUILDER_REFUSED in entry["reason"]
        ],
        "nodes_in_fp32": sum(
            island["precision"] == "FP32"
            for segment in report["segments"]
            for island in segment["islands"]
        ),
        "reached": sum(len(one["reached"]) for one in kernels),
        "missed": sum(len(one["missed"]) for one in kernels),
    }


def main(name: str, saved: str, record: str) -> None:
    """Write the record of all precisions."""
    found = {precision: convert(name, precision, Path(saved)) for precision in PRECISIONS}
    Path(record).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
