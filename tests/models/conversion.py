"""Converts one model of the zoo and compares it with the original; a process of its own each time.

python -m tests.models.conversion convert NAME PRECISION SAVED CONVERTED RECORD.json
python -m tests.models.conversion compare NAME SAVED CONVERTED RECORD.json
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import measure
from tests.models import zoo
from tftrt_toolkit import ToolkitOptions, TrtGraphConverterV2

ROOT = Path(__file__).parents[2]
SIZES = ("min", "opt", "max")
# Ahead-of-time plans for one architecture: the suite's subject is the conversion.
COMPUTE_CAPABILITIES = ("8.9",)


def new_converter(
    name: str, precision: str, saved: Path, capabilities: tuple[str, ...], **options: Any
) -> TrtGraphConverterV2:
    """For plans of TensorRT-RTX and the model's own shapes, as far as it tells them."""
    model = zoo.MODELS[name]
    return TrtGraphConverterV2(
        input_saved_model_dir=str(saved),
        use_dynamic_shape=model.dynamic,
        precision_mode=precision,
        options=ToolkitOptions(
            engine="tensorrt_rtx",
            compute_capabilities=capabilities,
            input_shapes={} if model.realistic else model.shapes,
            **options,
        ),
    )


def inputs_of_all_sizes(name: str) -> Iterator[dict[str, np.ndarray]]:
    """A batch of each of the model's sizes."""
    return (zoo.MODELS[name].inputs(size=size) for size in SIZES)


def convert(name: str, precision: str, saved: Path, converted: Path) -> dict[str, Any]:
    """Convert and save; what became engines, what didn't and why, and what it took."""
    start = time.monotonic()
    converter = new_converter(name, precision, saved, COMPUTE_CAPABILITIES)
    converter.convert()
    if zoo.MODELS[name].realistic:
        converter.build(lambda: inputs_of_all_sizes(name))
    converter.save(str(converted))
    report = converter.report()
    return {
        "seconds": round(time.monotonic() - start, 2),
        "engines": len(report["segments"]),
        "graphs": sorted({segment["graph"] for segment in report["segments"]}),
        "plans": [len(segment["plans"]) for segment in report["segments"]],
        "converted_nodes": report["converted_nodes"],
        "total_nodes": report["total_nodes"],
        "converted_node_fraction": round(report["converted_node_fraction"], 4),
        "refused": [
            {key: entry[key] for key in ("op", "count", "reason")} for entry in report["refused"]
        ],
        "dropped": [
            {"nodes": len(entry["nodes"]), "reason": entry["reason"]} for entry in report["dropped"]
        ],
    }


def compare(name: str, saved: Path, converted: Path) -> dict[str, float]:
    """Output -> greatest |difference| over inputs of all sizes, as a share of the output's scale.

    Outputs that aren't floats must be equal: their share is 0 or infinite.
    """
    batches = [zoo.MODELS[name].inputs(seed, size) for seed, size in enumerate(SIZES)]
    wanted = _outputs(saved, batches)
    found = _outputs(converted, batches)
    errors: dict[str, float] = {}
    for before, after in zip(wanted, found, strict=True):
        assert before.keys() == after.keys()
        for key in before:
            errors[key] = max(errors.get(key, 0.0), _difference(before[key], after[key]))
    return errors


def _outputs(directory: Path, batches: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    loaded = tf.saved_model.load(str(directory))
    serve = loaded.signatures["serving_default"]
    return [
        {key: value.numpy() for key, value in serve(**_tensors(batch)).items()} for batch in batches
    ]


def _tensors(batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: tf.constant(value) for name, value in batch.items()}


def _difference(before: np.ndarray, after: np.ndarray) -> float:
    assert before.shape == after.shape
    assert before.dtype == after.dtype
    if before.dtype.kind != "f":
        return 0.0 if np.array_equal(before, after) else float("inf")
    assert np.isfinite(before).all()
    scale = float(np.abs(before).max())
    return float(np.abs(before - after).max()) / scale


def save(name: str, saved: Path) -> None:
    """Write the zoo's model; in a process of its own, as large ones leave much memory behind."""
    zoo.MODELS[name].save(saved)


_STEPS: dict[str, Callable[..., Any]] = {"save": save, "convert": convert, "compare": compare}


def run_step(step: str, log: Path, *arguments: str | Path) -> tuple[Any, measure.Measured]:
    """One of save, convert and compare in its own process: its result, time and peak memory."""
    record = log.with_suffix(".json")
    command = [sys.executable, "-m", "tests.models.conversion", step, *map(str, arguments)]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
    found = measure.run([*command, str(record)], log, timeout=900, env=env)
    if found.returncode:
        tail = log.read_text(errors="replace")[-3000:]
        raise AssertionError(f"{step} {arguments} ended with {found.returncode}:\n{tail}")
    return json.loads(record.read_text()), found


def _main(step: str, *arguments: str) -> None:
    *given, record = arguments
    name, *rest = given
    precision = [rest.pop(0)] if step == "convert" else []
    result = _STEPS[step](name, *precision, *map(Path, rest))
    Path(record).write_text(json.dumps(result))


if __name__ == "__main__":
    _main(*sys.argv[1:])
