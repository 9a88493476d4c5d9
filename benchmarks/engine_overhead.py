"""Microseconds that one engine op adds to a call, beyond the ops beside it.

    python -m benchmarks.engine_overhead --output=benchmarks/results/engine_overhead.json

A chain of cheap ops is timed with and without an engine behind each: one that does nothing, and
one without an executor, whose native function is one such op.

Then a call of a function from Python is timed that reads many variables: as it is, with all of it
in an engine that does nothing, and in one without an executor. As in a saved model, the engine's
resource keeps the variables for the native function.
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
from tftrt_toolkit.functions import VARIABLES_KEPT
from tftrt_toolkit.runtime import ops
from tftrt_toolkit.runtime.bridge import CCall
from tftrt_toolkit.runtime.executor import CallInfo, Prepared, install

_LENGTH = flags.DEFINE_integer("length", 100, "Ops in the chain.")
_VARIABLES = flags.DEFINE_integer("variables", 320, "That the function reads; ResNet50 has 320.")
_REPEATS = flags.DEFINE_integer("repeats", 200, "Runs of each function; the median is taken.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timings of each, in turns; the least is taken.")
_OUTPUT = flags.DEFINE_string("output", None, "Results as JSON.", required=True)

Function = Callable[[tf.Tensor], tf.Tensor]


class Noop:
    """Leaves its output as it was allocated."""

    name = "noop"

    def prepare(self, call: CallInfo) -> Prepared:
        return Prepared(self.run, [call.inputs[0].shape])

    def run(self, call: CCall) -> None:
        pass

    def close(self) -> None:
        pass


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


def resource_of(kind: str, index: int = 0) -> str:
    """A resource's name; those of a kind that does nothing get their executor at once."""
    resource = f"TRTEngineOp_000_{index:03d}@{kind}"
    if kind.startswith("noop"):
        install(resource, Noop(), hold=True)
    return resource


def chains() -> dict[str, Function]:
    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def sine(x: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.Sin(x=x)

    segment = sine.get_concrete_function()

    def chain(behind: list[Function]) -> Any:
        @tf.function
        def run(x: tf.Tensor) -> tf.Tensor:
            for step in behind:
                x = step(tf.raw_ops.Sin(x=x))
            return x

        return run

    def engines(kind: str) -> Any:
        names = [resource_of(kind, index) for index in range(_LENGTH.value)]
        return chain([functools.partial(engine, resource=one, segment=segment) for one in names])

    return {
        "single": chain([tf.identity] * _LENGTH.value),
        "double": chain([lambda x: tf.raw_ops.Sin(x=x)] * _LENGTH.value),
        "noop": engines("noop"),
        "native": engines("native"),
    }


def readers() -> dict[str, Function]:
    """Functions of many variables, and one of none."""
    variables = [tf.Variable(tf.ones([2])) for _ in range(_VARIABLES.value)]
    handles = [tf.TensorSpec([], tf.resource)] * len(variables)

    @tf.function(input_signature=[tf.TensorSpec([None, 2]), *handles], autograph=False)
    def body(x: tf.Tensor, *handles: tf.Tensor) -> tf.Tensor:
        read = [tf.raw_ops.ReadVariableOp(resource=one, dtype=tf.float32) for one in handles]
        return x + tf.add_n(read)

    segment = body.get_concrete_function()

    def converted(kind: str) -> Any:
        resource = resource_of(kind)
        owner = ops.create_trt_resource_handle(resource_name=resource)
        ops.hold_trt_engine_variables(owner, segment_func=segment)
        for index, one in enumerate(variables):
            ops.keep_trt_engine_variable(
                one.handle, segment_func=segment, index=index, count=len(variables)
            )
        function = tf.compat.v1.NameAttrList(name=segment.name)
        kept = {VARIABLES_KEPT: tf.compat.v1.AttrValue(func=function)}

        @tf.function(input_signature=[tf.TensorSpec([None, 2])], autograph=False)
        def run(x: tf.Tensor) -> tf.Tensor:
            with tf.compat.v1.get_default_graph()._attr_scope(kept), tf.control_dependencies([]):
                tf.identity(owner)  # they are kept for as long as it is captured
                return engine(x, resource, segment)

        return run.get_concrete_function()

    @tf.function(input_signature=[tf.TensorSpec([None, 2])], autograph=False)
    def original(x: tf.Tensor) -> tf.Tensor:
        return x + tf.add_n([tf.identity(one) for one in variables])

    @tf.function(input_signature=[tf.TensorSpec([None, 2])], autograph=False)
    def nothing(x: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.Sin(x=x)

    return {
        "one op": nothing.get_concrete_function(),
        "original": original.get_concrete_function(),
        "no-op executor": converted("noop_reader"),
        "native fallback": converted("native_reader"),
    }


def microseconds(function: Function, x: tf.Tensor) -> float:
    """Median time of a call."""
    for _ in range(10):
        function(x).numpy()
    times = []
    for _ in range(_REPEATS.value):
        start = time.perf_counter()
        function(x).numpy()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def least(functions: dict[str, Function], x: tf.Tensor) -> dict[str, float]:
    rounds = [
        {kind: microseconds(function, x) for kind, function in functions.items()}
        for _ in range(_ROUNDS.value)
    ]
    return {kind: min(one[kind] for one in rounds) for kind in functions}


def main(argv: list[str]) -> None:
    del argv
    runtime.load_ops()
    gpus = tf.config.list_physical_devices("GPU")
    name = tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "CPU"
    with tf.device("/GPU:0" if gpus else "/CPU:0"):
        x = tf.ones([4, 2])
        chain = {kind: time / _LENGTH.value for kind, time in least(chains(), x).items()}
        calls = least(readers(), x)
    result = {
        "device": name,
        "tensorflow": tf.__version__,
        "microseconds": {
            "one op": round(chain["double"] - chain["single"], 2),
            "no-op executor": round(chain["noop"] - chain["single"], 2),
            "native fallback, beyond its op": round(chain["native"] - chain["double"], 2),
        },
        f"microseconds of a call, {_VARIABLES.value} variables": {
            kind: round(time, 1) for kind, time in calls.items()
        },
    }
    print(json.dumps(result))
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
