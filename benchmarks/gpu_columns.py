"""The columns of `benchmarks.gpu_executors`: each is a way to run one model on one batch."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import tftrt_toolkit
from tests.models.zoo import MODELS
from tftrt_toolkit import runtime
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.inspection import engine_assets
from tftrt_toolkit.onnx_model import to_session

EXECUTORS = ("native", "xla", "onnxruntime")
# Calls before an executor is at its best: ONNX Runtime's fifth is captured.
WARMUP = 8

Call = Callable[[], Any]
Wait = Callable[[Any], None]


@dataclasses.dataclass(frozen=True)
class Subject:
    """One conversion: its signature, each engine's resource and asset, ONNX Runtime's session."""

    function: Any
    assets: dict[str, AssetFile]
    session: Any
    seconds: float


@dataclasses.dataclass
class Timing:
    """How a column is timed, and what came of it."""

    rounds: int
    least: float
    ms: dict[str, float] = dataclasses.field(default_factory=dict)
    differences: dict[str, float] = dataclasses.field(default_factory=dict)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, column: str, call: Call, wait: Wait) -> None:
        """The least of the rounds; a column that fails says why."""
        self.alternate({column: (call, wait)})

    def alternate(self, columns: Mapping[str, tuple[Call, Wait]]) -> None:
        """The same of several columns in turns, and of what was timed of them before."""
        for column, (call, wait) in [*columns.items()] * self.rounds:
            if column in self.failures:
                continue
            try:
                time_ms = round(1e3 * seconds_a_call(call, wait, self.least), 4)
            except Exception as error:  # one column that fails must not cost the others
                self.failures[column] = f"{type(error).__name__}: {str(error)[:1000]}"
                self.ms.pop(column, None)
            else:
                self.ms[column] = min(time_ms, self.ms.get(column, time_ms))


def machine() -> dict[str, str]:
    """What the figures hold for."""
    import onnxruntime

    gpus = tf.config.list_physical_devices("GPU")
    found = {"tensorflow": tf.__version__, "onnxruntime": onnxruntime.__version__}
    if gpus:
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, check=True)
        found["gpu"] = done.stdout.strip()
    for gpu in gpus:  # ONNX Runtime needs memory beside TensorFlow's
        tf.config.experimental.set_memory_growth(gpu, True)
    return found


def convert(saved: Path, target: Path, precision: str) -> float:
    """Convert on this machine; returns the seconds that it took."""
    start = time.perf_counter()
    converter = tftrt_toolkit.TrtGraphConverterV2(
        str(saved), use_dynamic_shape=True, precision_mode=precision
    )
    converter.convert()
    converter.save(str(target), overwrite=True)
    return time.perf_counter() - start


def with_batch(inputs: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
    """The inputs repeated to a batch size."""
    return {
        name: np.resize(value, (batch, *value.shape[1:])) if value.ndim else value
        for name, value in inputs.items()
    }


def seconds_a_call(call: Call, wait: Wait, least: float) -> float:
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


def wait_tensorflow(outputs: Any) -> None:
    """Copy one element of each output to the host, behind all that was queued."""
    for output in tf.nest.flatten(outputs):
        tf.reshape(output, [-1])[:1].numpy()


def difference(outputs: Any, reference: dict[str, np.ndarray]) -> float:
    """max |difference| over the reference's scale, over all outputs."""
    return max(
        float(np.abs(outputs[name].numpy() - value).max()) / max(float(np.abs(value).max()), 1e-30)
        for name, value in reference.items()
    )


class Columns:
    """One model of the zoo and what its rows share."""

    def __init__(self, name: str, directory: Path, rounds: int, least: float) -> None:
        self.saved = directory / name
        self._zoo, self._rounds, self._least = MODELS[name], rounds, least
        self._zoo.save(self.saved)
        self._model = tf.saved_model.load(str(self.saved))  # owns the variables
        self._original = original = self._model.signatures["serving_default"]
        self._compiled = tf.function(lambda **inputs: original(**inputs), jit_compile=True)
        with tf.device("/CPU:0"):
            self._on_cpu = tf.saved_model.load(str(self.saved))
        self._loaded: list[tuple[Any, Any, dict[str, AssetFile]]] = []  # model, signature, assets
        self._gpu = "/GPU:0" if tf.config.list_physical_devices("GPU") else "/CPU:0"

    def subject(self, directory: Path, seconds: float) -> Subject:
        """Load a conversion, or give its assets to one that has the same segments.

        The TensorFlow side of two precisions is the same then, and XLA compiles it once.
        """
        files = [AssetFile.open(path) for path in engine_assets(directory)]
        by_segment = {asset.segment: asset for asset in files}
        for _, function, held in self._loaded:
            if {a.segment: (a.inputs, a.outputs) for a in held.values()} == {
                a.segment: (a.inputs, a.outputs) for a in files
            }:
                assets = {resource: by_segment[asset.segment] for resource, asset in held.items()}
                return Subject(function, assets, session_of(files), seconds)
        model = tftrt_toolkit.load(str(directory), executors=["native"])
        root = directory.absolute()
        assets = {
            resource: AssetFile.open(path)
            for resource, path in runtime.loaded_assets().items()
            if root in path.absolute().parents
        }
        function = model.signatures["serving_default"]
        self._loaded.append((model, function, assets))
        return Subject(function, assets, session_of(files), seconds)

    def measure(self, subject: Subject, batch: int) -> dict[str, Any]:
        """Milliseconds a call, differences and failures, by column."""
        arrays, inputs, reference = self._inputs(batch)
        timing = Timing(self._rounds, self._least)

        def column(name: str, function: Any) -> None:
            timing.add(name, lambda: function(**inputs), wait_tensorflow)
            if name in timing.ms:
                timing.differences[name] = difference(function(**inputs), reference)

        column("tensorflow", self._original)
        column("tensorflow_xla", self._compiled)
        rivals = {"tensorflow_xla": (lambda: self._compiled(**inputs), wait_tensorflow)}
        if subject.session is not None:
            call = onnxruntime_call(subject.session, arrays)
            rivals["onnxruntime_alone"] = call, lambda binding: binding.synchronize_outputs()
            timing.add("onnxruntime_alone", *rivals["onnxruntime_alone"])
        for executor in EXECUTORS:
            reasons = self._bind(subject, [executor])
            if not reasons:
                column(executor, subject.function)
                reasons = _reasons(subject)
            if reasons:  # what was timed was TensorFlow
                timing.failures[executor] = "; ".join(reasons)
                timing.ms.pop(executor, None)
        start = time.perf_counter()
        winners = runtime.tune(lambda: subject.function(**inputs), subject.assets)
        seconds = time.perf_counter() - start
        for resource, winner in winners.items():
            subject.assets[resource] = subject.assets[resource].with_tuned([winner])
        self._bind(subject, None)
        column("tuned", subject.function)
        tuned = {"tuned": (lambda: subject.function(**inputs), wait_tensorflow)}
        timing.alternate(tuned | rivals)
        best = min(EXECUTORS, key=lambda name: timing.ms.get(name, float("inf")))
        for executors in ([best], None) * self._rounds:  # they may be the same but for chance
            self._bind(subject, executors)
            call = tuned["tuned"][0]
            for _ in range(WARMUP):
                call()
            timing.add(best if executors else "tuned", call, wait_tensorflow)
        self._bind(subject, ["native"])
        return {
            "engines": len(subject.assets),
            "ms": timing.ms,
            "tuned": sorted({winner.executor for winner in winners.values()}),
            "difference": timing.differences,
            "failures": timing.failures,
            "seconds": {"convert": round(subject.seconds, 1), "tune": round(seconds, 1)},
        }

    def deviations(self, subject: Subject, batch: int) -> tuple[dict[str, float], dict[str, str]]:
        """Differences from TensorFlow on the CPU, and failures, by column."""
        _, inputs, reference = self._inputs(batch)
        found = {
            "tensorflow": difference(self._original(**inputs), reference),
            "tensorflow_xla": difference(self._compiled(**inputs), reference),
        }
        failures = {}
        for executor in EXECUTORS:
            reasons = self._bind(subject, [executor])
            if not reasons:
                found[executor] = difference(subject.function(**inputs), reference)
                reasons = _reasons(subject)
            if reasons:
                failures[executor] = "; ".join(reasons)
        self._bind(subject, ["native"])
        return found, failures

    def deviation_on_cpu(self, directory: Path, batch: int) -> float:
        """Of the conversion's typed ONNX in ONNX Runtime on the CPU."""
        _, inputs, reference = self._inputs(batch)
        with tf.device("/CPU:0"):
            model = tftrt_toolkit.load(str(directory), executors=["onnxruntime"])
            inputs = {name: tf.identity(value) for name, value in inputs.items()}
            return difference(model.signatures["serving_default"](**inputs), reference)

    def _inputs(
        self, batch: int
    ) -> tuple[dict[str, np.ndarray], dict[str, tf.Tensor], dict[str, np.ndarray]]:
        """Inputs as arrays and on the GPU, and TensorFlow's outputs on the CPU."""
        arrays = with_batch(self._zoo.inputs(size="opt"), batch)
        with tf.device(self._gpu):
            inputs = {name: tf.identity(tf.constant(value)) for name, value in arrays.items()}
        with tf.device("/CPU:0"):
            outputs = self._on_cpu.signatures["serving_default"](
                **{name: tf.constant(value) for name, value in arrays.items()}
            )
        return arrays, inputs, {name: value.numpy() for name, value in outputs.items()}

    def _bind(self, subject: Subject, executors: list[str] | None) -> list[str]:
        """Returns the reasons why another executor than the first was taken."""
        choices = [
            runtime.bind(resource, asset, executors=executors)
            for resource, asset in subject.assets.items()
        ]
        return sorted({choice.reason for choice in choices if choice and choice.reason})


def _reasons(subject: Subject) -> list[str]:
    stats = [one for one in runtime.runtime_stats() if one.resource in subject.assets]
    return sorted({one.reason for one in stats if one.reason})


def session_of(assets: list[AssetFile]) -> Any:
    """ONNX Runtime's CUDA session of a model that is one segment; None for others."""
    if len(assets) != 1 or not tf.config.list_physical_devices("GPU"):
        return None
    return to_session(assets[0].load_onnx().model, providers=["CUDAExecutionProvider"])


def onnxruntime_call(session: Any, inputs: dict[str, np.ndarray]) -> Call:
    """A call of a whole-model segment on inputs and outputs bound to GPU memory."""
    import onnxruntime

    binding = session.io_binding()
    for given in session.get_inputs():
        name = next(one for one in inputs if given.name.split(":")[0].endswith(one))
        value = onnxruntime.OrtValue.ortvalue_from_numpy(inputs[name], "cuda", 0)
        binding.bind_ortvalue_input(given.name, value)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cuda", 0)

    def call() -> Any:
        session.run_with_iobinding(binding)
        return binding

    return call
