"""Microseconds that one engine op adds to a call, beyond the ops beside it.

    python -m benchmarks.engine_overhead --output=benchmarks/results/engine_overhead.json

A chain of cheap ops is timed with and without an engine behind each: one that does nothing, and
one without an executor, whose native function is one such op.
"""

from __future__ import annotations

import functools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import app, flags

from tftrt_toolkit import runtime
from tftrt_toolkit.runtime import ops
from tftrt_toolkit.runtime.bridge import CCall
from tftrt_toolkit.runtime.executor import CallInfo, Prepared, install

_LENGTH = flags.DEFINE_integer("length", 100, "Ops in the chain.")
_REPEATS = flags.DEFINE_integer("repeats", 200, "Runs of a chain; the median is taken.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timings of each chain, in turns; the least is taken.")
_OUTPUT = flags.DEFINE_string("output", None, "Results as JSON.", required=True)


class Noop:
    """Leaves its output as it was allocated."""

    name = "noop"

    def prepare(self, call: CallInfo) -> Prepared:
        return Prepared(self.run, [call.inputs[0].shape])

    def run(self, call: CCall) -> None:
        pass

    def close(self) -> None:
        pass


def resources(kind: str) -> list[str]:
    return [f"TRTEngineOp_000_{index:03d}@{kind}" for index in range(_LENGTH.value)]


def engine(x: tf.Tensor, resource: str, segment: Any) -> tf.Tensor:
    (output,) = ops.trt_engine_op(
        in_tensor=[x],
        serialized_segment="",
        OutT=[tf.float32],
        workspace_size_bytes=1,
        precision_mode="FP32",
        segment_func=segment,
        segment_funcdef_name=resource,
        input_shapes=[x.shape],
        output_shapes=[x.shape],
    )
    return output


def chains() -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def sine(x: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.Sin(x=x)

    segment = sine.get_concrete_function()

    def chain(behind: list[Callable[[tf.Tensor], tf.Tensor]]) -> Any:
        @tf.function
        def run(x: tf.Tensor) -> tf.Tensor:
            for step in behind:
                x = step(tf.raw_ops.Sin(x=x))
            return x

        return run

    def engines(kind: str) -> Any:
        return chain(
            [functools.partial(engine, resource=one, segment=segment) for one in resources(kind)]
        )

    return {
        "single": chain([tf.identity] * _LENGTH.value),
        "double": chain([lambda x: tf.raw_ops.Sin(x=x)] * _LENGTH.value),
        "noop": engines("noop"),
        "native": engines("native"),
    }


def microseconds(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> float:
    """Of one link of the chain."""
    for _ in range(10):
        function(x).numpy()
    times = []
    for _ in range(_REPEATS.value):
        start = time.perf_counter()
        function(x).numpy()
        times.append(time.perf_counter() - start)
    return statistics.median(times) / _LENGTH.value * 1e6


def main(argv: list[str]) -> None:
    del argv
    runtime.load_ops()
    for resource in resources("noop"):
        install(resource, Noop(), hold=True)
    gpus = tf.config.list_physical_devices("GPU")
    name = tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "CPU"
    with tf.device("/GPU:0" if gpus else "/CPU:0"):
        x, functions = tf.ones([4, 2]), chains()
        rounds = [
            {kind: microseconds(function, x) for kind, function in functions.items()}
            for _ in range(_ROUNDS.value)
        ]
    least = {kind: min(one[kind] for one in rounds) for kind in functions}
    result = {
        "device": name,
        "tensorflow": tf.__version__,
        "microseconds": {
            "one op": round(least["double"] - least["single"], 2),
            "no-op executor": round(least["noop"] - least["single"], 2),
            "native fallback, beyond its op": round(least["native"] - least["double"], 2),
        },
    }
    print(json.dumps(result))
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
