import time

import tensorflow as tf

from tests.runtime.assets import double_plus_asset
from tests.runtime.engines import double_plus, model_of
from tests.runtime.fake_executor import FakeExecutor
from tftrt_toolkit import runtime
from tftrt_toolkit.manifest import TunedExecutor
from tftrt_toolkit.runtime import resources
from tftrt_toolkit.runtime.tuned_executor import distance

ONES = tf.ones([2, 4])
QUICK = runtime.Effort(warmup=1, repeats=5, rounds=2, seconds=0.01)


def winner(rows, executor):
    return TunedExecutor("CPU", {"x:0": (rows, 4), "n:0": ()}, executor, {executor: 1.0})


def test_the_fastest_wins_and_takes_over(resource, tmp_path, monkeypatch):
    class Quick(FakeExecutor):
        name = "onnxruntime"

    class Slow(Quick):
        def run(self, call, shape):
            time.sleep(0.02)
            super().run(call, shape)

    model = model_of(double_plus(), resource)
    asset = double_plus_asset(tmp_path / "engine")
    executors = ["native", "onnxruntime", "tensorrt"]
    monkeypatch.setattr(resources, "OnnxRuntimeExecutor", lambda asset: Slow())
    slow = runtime.tune(
        lambda: model(ONES, 3), {resource: asset}, executors=executors, effort=QUICK
    )[resource]
    assert slow.executor == "native"
    assert slow.device == "CPU"
    assert dict(slow.shapes) == {"x:0": (2, 4), "n:0": ()}
    assert slow.seconds.keys() == {"native", "onnxruntime"}  # there is no plan for TensorRT
    assert slow.seconds["onnxruntime"] > 0.02 > slow.seconds["native"]
    assert runtime.bind(resource, asset.with_tuned([slow])).executor == "tuned"
    assert model(ONES, 3)[0].numpy()[0, 0] == 5.0


def test_an_executor_that_breaks_is_no_winner(resource, tmp_path, monkeypatch):
    class Breaks(FakeExecutor):
        def run(self, call, shape):
            raise ValueError("broken")

    monkeypatch.setattr(resources, "OnnxRuntimeExecutor", lambda asset: Breaks())
    model = model_of(double_plus(), resource)
    asset = double_plus_asset(tmp_path / "engine")
    found = runtime.tune(
        lambda: model(ONES, 3),
        {resource: asset},
        executors=["onnxruntime", "native"],
        effort=QUICK,
    )
    assert found[resource].seconds.keys() == {"native"}


def test_what_is_not_reached_is_not_tuned(resource, tmp_path):
    asset = double_plus_asset(tmp_path / "engine")
    assert runtime.tune(lambda: None, {resource: asset}, executors=["native"]) == {}


def test_each_shape_runs_by_the_winner_that_is_nearest(resource, tmp_path):
    model = model_of(double_plus(), resource)
    asset = double_plus_asset(tmp_path / "engine", factor=3.0).with_tuned(
        [winner(1, "native"), winner(16, "onnxruntime"), winner(256, "xla")]
    )
    assert runtime.bind(resource, asset).executor == "tuned"
    first = [model(tf.ones([rows, 4]), 3)[0].numpy()[0, 0] for rows in (1, 2, 10, 40, 200)]
    assert first == [5.0, 5.0, 6.0, 6.0, 5.0]
    [stats] = [one for one in runtime.runtime_stats() if one.resource == resource]
    assert stats.executor == "tuned: native, onnxruntime, xla"
    assert (stats.calls, stats.native_calls, stats.declined) == (3, 2, 0)


def test_distance_of_shapes():
    assert distance({"a": (2, 3)}, {"a": (2, 3)}) == 0
    assert distance({"a": (2,)}, {"a": (4,)}) == distance({"a": (4,)}, {"a": (2,)})
    assert distance({"a": (2,)}, {"a": (2, 3)}) == float("inf")
