"""ONNX Runtime, CUDA graphs and tuning on a GPU."""

import gc
import threading

import numpy as np
import pytest
import tensorflow as tf
from onnx import TensorProto, helper

from tests.runtime.assets import double_plus_asset
from tests.runtime.engines import double_plus, model_of, stats
from tests.runtime.test_onnxruntime_executor import segment_asset
from tftrt_toolkit import runtime
from tftrt_toolkit.runtime import executor as installed
from tftrt_toolkit.runtime import onnxruntime_graph

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not tf.config.list_physical_devices("GPU")
        or "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="no GPU, or no onnxruntime for it, here",
    ),
]


def wrong_answers(model, factor, threads=16, calls=50):
    """Calls whose inputs are computed on the stream just before, in several shapes, in threads."""
    wrong = []

    def call(seed):
        with tf.device("GPU:0"):
            for n in range(calls):
                rows = 1 + (seed + n) % 7
                # tf.fill in threads takes another thread's shape now and then, without our ops too.
                x = tf.constant(np.full([rows, 4], seed, np.float32)) * 1.0
                y, m = model(x, tf.constant(n))
                expected = np.full([rows, 4], factor * seed + n, np.float32)
                if not np.array_equal(y.numpy(), expected) or m.numpy() != n + 1:
                    wrong.append((rows, tuple(x.shape), y.numpy().tolist(), seed, n, m.numpy()))

    running = [threading.Thread(target=call, args=(seed,)) for seed in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return wrong


@pytest.mark.parametrize("calls_before", [2, 10**6], ids=["graphs", "launched"])
def test_sixteen_threads_on_tensorflows_stream_and_memory(
    resource, tmp_path, caplog, monkeypatch, calls_before
):
    monkeypatch.setattr(onnxruntime_graph, "CALLS_BEFORE", calls_before)
    model = model_of(double_plus(), resource, "GPU:0")
    runtime.bind(
        resource, double_plus_asset(tmp_path / "engine", factor=3.0), executors=["onnxruntime"]
    )
    assert wrong_answers(model, 3.0) == []
    found = stats(resource)
    assert (found.calls, found.native_calls, found.executor) == (800, 0, "onnxruntime")
    assert "without a CUDA graph" not in caplog.text


def test_shapes_beyond_the_most_graphs_run_without(resource, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(onnxruntime_graph, "MAX_GRAPHS", 2)
    model = model_of(double_plus(), resource, "GPU:0")
    asset = double_plus_asset(tmp_path / "engine", factor=3.0)
    runtime.bind(resource, asset, executors=["onnxruntime"])
    for rows in (1, 2, 3, 0, 3) * (onnxruntime_graph.CALLS_BEFORE + 1):
        assert model(tf.ones([rows, 4]), 3)[0].numpy().tolist() == [[6.0] * 4] * rows
    assert "2 other sets of shapes have one" in caplog.text


def test_what_no_graph_can_hold_runs_without(resource, tmp_path, caplog):
    """How many are not zero is known only behind the kernel that counts them."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)], autograph=False)
    def segment(x):
        return tf.transpose(tf.where(x))

    nodes = [helper.make_node("NonZero", ["x:0"], ["y:0"])]
    asset = segment_asset(
        tmp_path / "engine",
        nodes,
        [("x:0", tf.float32, [None])],
        [("y:0", tf.int64, [1, None])],
    )
    runtime.bind(resource, asset, executors=["onnxruntime"])
    model = model_of(segment.get_concrete_function(), resource, "GPU:0")
    for values in ([1.0, 0.0, 2.0], [0.0, 0.0, 2.0], [1.0, 1.0, 1.0]) * 3:
        assert model(tf.constant(values))[0].numpy().tolist() == [
            [index for index, value in enumerate(values) if value]
        ]
    assert "runs without a CUDA graph for shapes" in caplog.text
    assert stats(resource).native_calls == 0


def test_graphs_and_their_memory_go_with_the_executor(resource, tmp_path):
    model = model_of(double_plus(), resource, "GPU:0")
    asset = double_plus_asset(tmp_path / "engine", factor=3.0)
    x = tf.ones([1 << 18, 4])
    model(x, 3)
    gc.collect()
    before = tf.config.experimental.get_memory_info("GPU:0")["current"]
    runs = len(installed._runs)
    for _ in range(3):
        runtime.bind(resource, asset, executors=["onnxruntime"])
        for _ in range(onnxruntime_graph.CALLS_BEFORE + 2):
            assert model(x, 3)[0].numpy()[-1, -1] == 6.0
        runtime.bind(resource, None)
    gc.collect()
    assert len(installed._runs) == runs
    assert tf.config.experimental.get_memory_info("GPU:0")["current"] == before


def test_a_weight_that_is_computed_stays_with_its_graph(resource, tmp_path):
    """Other sessions come and go between two launches."""
    weights = np.random.default_rng(1).standard_normal((64, 64), dtype=np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32)], autograph=False)
    def segment(x):
        return tf.nn.relu(x @ weights)

    info = [("x:0", tf.float32, [None, 64])], [("y:0", tf.float32, [None, 64])]
    nodes = [
        helper.make_node("MatMul", ["x:0", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["y:0"]),
    ]
    initializer = helper.make_tensor("w", TensorProto.FLOAT, [64, 64], weights.tobytes(), raw=True)
    asset = segment_asset(tmp_path / "engine", nodes, *info, weights=[initializer])
    runtime.bind(resource, asset, executors=["onnxruntime"])
    model = model_of(segment.get_concrete_function(), resource, "GPU:0")
    inputs = [np.random.default_rng(n).standard_normal((n, 64), dtype=np.float32) for n in (3, 9)]
    for _ in range(20):
        for x in inputs:
            expected = np.maximum(x @ weights, 0)
            np.testing.assert_allclose(model(tf.constant(x))[0], expected, rtol=0.02, atol=0.1)


def test_tuning_on_this_gpu(resource, tmp_path):
    model = model_of(double_plus(), resource, "GPU:0")
    asset = double_plus_asset(tmp_path / "engine")
    x, n = tf.ones([64, 4]), tf.constant(3)
    effort = runtime.Effort(warmup=1, repeats=5, rounds=2, seconds=0.02)
    winner = runtime.tune(lambda: model(x, n), {resource: asset}, effort=effort)[resource]
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    assert winner.device == details["device_name"]
    assert winner.seconds.keys() >= {"native", "xla", "onnxruntime"}
    assert runtime.bind(resource, asset.with_tuned([winner])).executor == "tuned"
    assert model(x, n)[0].numpy()[0, 0] == 5.0
