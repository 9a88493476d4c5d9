"""Converted models on a GPU, executor by executor, beside TensorFlow, XLA and ONNX Runtime alone.

    python -m benchmarks.gpu_executors --output=benchmarks/results/gpu_executors.json

One row a model, precision and batch; the columns are timed in turns within the row, several rounds,
medians. Inputs are on the GPU before the clock starts; a timing is of many calls behind each other
with one synchronisation at the end, divided by their number. FP16 rows compare with TensorFlow's
FP32, since that is what the SavedModel computes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

_MODELS = flags.DEFINE_list(
    "models", ["resnet50", "mobilenetv2", "efficientnetb0", "bert", "gpt"], "Of tests/models/zoo."
)
_BATCHES = flags.DEFINE_list("batches", ["1", "8", "64"], "Batch sizes.")
_PRECISIONS = flags.DEFINE_list("precisions", ["FP32", "FP16"], "Precisions to convert to.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timings of each column; medians are reported.")
_SECONDS = flags.DEFINE_float("seconds", 0.15, "Least length of one timing.")
_OUTPUT = flags.DEFINE_string("output", None, "Results as JSON.", required=True)
_EXECUTORS = ("native", "xla", "onnxruntime")

Call = Callable[[], Any]


def with_batch(inputs: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
    """The inputs repeated to a batch size."""
    return {
        name: np.resize(value, (batch, *value.shape[1:])) if value.ndim else value
        for name, value in inputs.items()
    }


def seconds_a_call(call: Call, wait: Callable[[Any], None], least: float) -> float:
    """Time of one call among as many as take `least` seconds, the wait for the last included."""
    wait(call())
    count = 4
    while True:
        start = time.perf_counter()
        for _ in range(count):
            result = call()
        wait(result)
        elapsed = time.perf_counter() - start
        if elapsed >= least:
            return elapsed / count
        count = max(count * 2, int(count * least / max(elapsed, 1e-6)) + 1)


def tensorflow_call(function: Any, inputs: dict[str, Any]) -> Call:
    """A call of a signature on tensors."""
    return lambda: function(**inputs)


def wait_tensorflow(outputs: Any) -> None:
    """Copy one element of each output to the host, behind all that was queued."""
    import tensorflow as tf

    for output in tf.nest.flatten(outputs):
        tf.reshape(output, [-1])[:1].numpy()


def onnxruntime_call(asset_path: Path, inputs: dict[str, np.ndarray]) -> Call:
    """A whole-model segment's ONNX in ONNX Runtime's CUDA provider, bound to GPU memory."""
    import onnxruntime

    from tftrt_toolkit.asset import AssetFile
    from tftrt_toolkit.onnx_model import to_session

    asset = AssetFile.open(asset_path)
    session = to_session(asset.load_onnx().model, providers=["CUDAExecutionProvider"])
    binding = session.io_binding()
    for spec in asset.inputs:
        name = next(one for one in inputs if spec.name.split(":")[0].endswith(one))
        value = onnxruntime.OrtValue.ortvalue_from_numpy(inputs[name], "cuda", 0)
        binding.bind_ortvalue_input(spec.name, value)
    for spec in asset.outputs:
        binding.bind_output(spec.name, "cuda", 0)

    def call() -> Any:
        session.run_with_iobinding(binding)
        return binding

    return call


def convert(saved_model: Path, target: Path, precision: str) -> dict[str, Any]:
    """Convert on this machine; returns the report."""
    from tftrt_toolkit import TrtGraphConverterV2

    converter = TrtGraphConverterV2(
        str(saved_model), use_dynamic_shape=True, precision_mode=precision
    )
    converter.convert()
    converter.save(str(target), overwrite=True)
    return converter.report()


def difference(outputs: Any, reference: Any) -> float:
    """max |difference| over the reference's scale, over all outputs."""
    return max(
        float(np.abs(outputs[name].numpy() - value.numpy()).max())
        / max(float(np.abs(value.numpy()).max()), 1e-30)
        for name, value in reference.items()
    )


def measure_model(name: str, precision: str, directory: Path) -> list[dict[str, Any]]:
    """All rows of one model and precision."""
    import tensorflow as tf

    import tftrt_toolkit
    from tests.models.zoo import MODELS

    zoo, saved = MODELS[name], directory / name
    if not saved.exists():
        zoo.save(saved)
    # The engines of one conversion share their resources however often it is loaded, so each
    # executor gets a conversion of its own.
    targets = {one: directory / f"{name}_{precision}_{one}" for one in _EXECUTORS}
    reports = {one: convert(saved, target, precision) for one, target in targets.items()}
    report = reports["native"]
    unconverted = tf.saved_model.load(str(saved))  # owns the variables
    original = unconverted.signatures["serving_default"]
    compiled = tf.function(lambda **inputs: original(**inputs), jit_compile=True)
    loaded = {
        executor: tftrt_toolkit.load(str(targets[executor]), executors=[executor])
        for executor in _EXECUTORS
    }
    assets = sorted((targets["native"] / "assets").glob("trt-serialized-engine.*"))
    rows = []
    for batch in map(int, _BATCHES.value):
        arrays = with_batch(zoo.inputs(size="opt"), batch)
        with tf.device("/GPU:0"):
            inputs = {key: tf.identity(tf.constant(value)) for key, value in arrays.items()}
        calls = {
            "tensorflow": tensorflow_call(original, inputs),
            "tensorflow_xla": tensorflow_call(compiled, inputs),
        }
        waits = dict.fromkeys(calls, wait_tensorflow)
        for executor, model in loaded.items():
            calls[executor] = tensorflow_call(model.signatures["serving_default"], inputs)
            waits[executor] = wait_tensorflow
        if len(assets) == 1:
            calls["onnxruntime_alone"] = onnxruntime_call(assets[0], arrays)
            waits["onnxruntime_alone"] = lambda binding: binding.synchronize_outputs()
        rows.append(measure_row(calls, waits) | {"model": name, "precision": precision})
        rows[-1] |= {
            "batch": batch,
            "engines": len(report["segments"]),
            "difference": {
                executor: difference(calls[executor](), original(**inputs))
                for executor in _EXECUTORS
            },
        }
        print(json.dumps(rows[-1]), flush=True)
    return rows


def measure_row(calls: dict[str, Call], waits: dict[str, Any]) -> dict[str, Any]:
    """Median milliseconds a call of each column; a column that fails says why."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    failures: dict[str, str] = {}
    for _ in range(_ROUNDS.value):
        for name, call in calls.items():
            if name in failures:
                continue
            try:
                times[name].append(seconds_a_call(call, waits[name], _SECONDS.value))
            except Exception as error:  # one column that fails must not cost the others
                failures[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"
    medians = {
        name: round(1e3 * statistics.median(values), 4) for name, values in times.items() if values
    }
    return {"ms": medians, "failures": failures}


def gpu_name() -> str:
    """The GPU and its driver, as nvidia-smi names them."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


def main(argv: list[str]) -> None:
    """Measure, and write after each model, so that a run that is cut short leaves its rows."""
    del argv
    import onnxruntime
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    result: dict[str, Any] = {
        "gpu": gpu_name(),
        "tensorflow": tf.__version__,
        "onnxruntime": onnxruntime.__version__,
        "rounds": _ROUNDS.value,
        "rows": [],
    }
    with tempfile.TemporaryDirectory() as scratch:
        for name in _MODELS.value:
            for precision in _PRECISIONS.value:
                try:
                    result["rows"] += measure_model(name, precision, Path(scratch))
                except Exception as error:
                    line = str(error).splitlines()[0][:300] if str(error) else ""
                    result["rows"].append(
                        {"model": name, "precision": precision, "error": f"{type(error)}: {line}"}
                    )
                    print(result["rows"][-1], flush=True)
                Path(_OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
