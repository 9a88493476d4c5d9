"""Converts one model of the zoo in every typed precision; a process of its own for each model.

python -m tests.models.typed NAME SAVED RECORD.json
"""

from __future__ import annotations

import functools
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.models import zoo
from tests.models.conversion import inputs_of_all_sizes, new_converter
from tftrt_toolkit.engine import BuildConfig, build_plans

PRECISIONS = ("FP16", "BF16", "INT8", "FP8")
COMPUTE_CAPABILITIES = ("8.9", "12.0")
CONFIG = BuildConfig(flavour="tensorrt_rtx", compute_capabilities=COMPUTE_CAPABILITIES)
BUILDER_REFUSED = "builder refuses"


def convert(name: str, precision: str, saved: Path) -> dict[str, Any]:
    """Convert, calibrated on inputs of all sizes; what the builder made of it.

    Where TensorRT-RTX's plans keep convolutions in FP16, the ONNX that has them quantized is built
    too: `whole` counts these segments.
    """
    inputs = functools.partial(inputs_of_all_sizes, name)
    start = time.monotonic()
    converter = new_converter(name, precision, saved, COMPUTE_CAPABILITIES, report_kernels=True)
    converter.convert(calibration_input_fn=inputs)
    if zoo.MODELS[name].realistic:
        converter.build(inputs)
    for engine in converter._conversion.engines.engines:
        if engine.plan_islands:  # what TensorRT 10 and 11 would build from
            build_plans(engine.typed, engine.segment.name, engine.plans[0].profiles, CONFIG)
    report = converter.report()
    kernels = [segment["kernels"] for segment in report["segments"] if segment["kernels"]]
    return {
        "seconds": round(time.monotonic() - start, 1),
        "plans": [len(segment["plans"]) for segment in report["segments"]],
        "refused": [
            entry["reason"] for entry in report["refused"] if BUILDER_REFUSED in entry["reason"]
        ],
        "whole": sum(bool(segment["plan_islands"]) for segment in report["segments"]),
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
    found = {}
    for precision in PRECISIONS:
        found[precision] = convert(name, precision, Path(saved))
        gc.collect()  # models hold each other in cycles, and the largest has 2.5 GB
    Path(record).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
