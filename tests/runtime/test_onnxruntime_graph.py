"""Capturing, with a driver that runs on the host; with a real one it is tested on GPUs."""

import contextlib
import ctypes

import numpy as np
import pytest
import tensorflow as tf
from onnx import helper

from tests.runtime.assets import double_plus_asset
from tests.runtime.engines import double_plus, model_of, new_resource
from tests.runtime.test_onnxruntime_executor import segment_asset
from tftrt_toolkit import runtime
from tftrt_toolkit.runtime import cuda_driver, onnxruntime_executor, onnxruntime_graph
from tftrt_toolkit.runtime.executor import CallInfo, describe

CPU_SESSION = onnxruntime_graph.Session


class HostDriver:
    """Stands for the driver: one stream after the other, memory of the host."""

    def __init__(self):
        self.streams, self.graphs, self.memory = [], [], {}
        self.does_nothing = False

    def create_stream(self):
        self.streams.append(len(self.streams) + 1)
        return self.streams[-1]

    def destroy_stream(self, stream):
        self.streams.remove(stream)

    def copy_on_device(self, target, source, size, _stream):
        ctypes.memmove(target, source, size)

    copy_to_host = copy_on_device

    def fill(self, target, byte, size, _stream):
        ctypes.memset(target, byte, size)

    def synchronize(self, _stream):
        pass

    def current_context(self):
        return 7

    @contextlib.contextmanager
    def current(self, context):
        assert context == 7
        yield

    def Graph(self, record, _stream):  # noqa: N802
        driver = self

        class Graph:
            def __init__(self):
                driver.graphs.append(self)

            def launch(self, stream):
                if not driver.does_nothing:
                    record()

            def close(self):
                driver.graphs.remove(self)

        return Graph()

    def device_allocate(self, _device, size):
        buffer = np.empty(size, np.uint8)
        self.memory[buffer.ctypes.data] = buffer
        return buffer.ctypes.data

    def device_free(self, _device, address):
        del self.memory[address]


@pytest.fixture
def driver(monkeypatch):
    """The host's, behind the executor's back; its calls seem to come from a GPU."""
    found = HostDriver()
    for name in ("create_stream", "destroy_stream", "copy_on_device", "copy_to_host", "fill",
                 "synchronize", "current_context", "current", "Graph"):  # fmt: skip
        monkeypatch.setattr(cuda_driver, name, getattr(found, name))
    monkeypatch.setattr(onnxruntime_graph, "op_library", lambda: found)
    for module in (onnxruntime_graph, onnxruntime_executor):
        monkeypatch.setattr(
            module,
            "Session",
            lambda asset, device, stream, shapes=None: CPU_SESSION(asset, None, 0, shapes),
        )

    def on_a_gpu(call):
        return CallInfo(**(vars(describe(call)) | {"device": 0}))

    monkeypatch.setattr(runtime.executor, "describe", on_a_gpu)
    monkeypatch.setattr(onnxruntime_graph, "describe", on_a_gpu)
    monkeypatch.setattr(onnxruntime_graph, "CALLS_BEFORE", 1)
    return found


@pytest.fixture
def resource(driver):  # it goes before the driver does
    name = new_resource()
    yield name
    runtime.bind(name, None)


@pytest.fixture
def model(resource, tmp_path):
    asset = double_plus_asset(tmp_path / "engine", factor=3.0)
    assert runtime.bind(resource, asset, executors=["onnxruntime"]).reason == ""
    return model_of(double_plus(), resource)


def answers(model, *sizes):
    return [model(tf.fill([n, 4], float(n)), n)[0].numpy()[:, :1].ravel().tolist() for n in sizes]


def test_each_set_of_shapes_has_a_graph_once_it_has_come_often(model, resource, driver):
    assert answers(model, 2, 1) == [[8.0, 8.0], [4.0]]
    assert driver.graphs == []
    assert answers(model, 2, 1, 2, 1) == [[8.0, 8.0], [4.0], [8.0, 8.0], [4.0]]
    assert len(driver.graphs) == len(driver.streams) == 2
    runtime.bind(resource, None)
    assert (driver.graphs, driver.streams, driver.memory) == ([], [], {})


def test_no_rows_are_captured_too(model, driver, caplog):
    assert answers(model, 0, 0, 0) == [[]] * 3
    assert len(driver.graphs) == 1
    assert "without a CUDA graph" not in caplog.text


def test_shapes_beyond_the_most_graphs_run_without(model, driver, monkeypatch, caplog):
    monkeypatch.setattr(onnxruntime_graph, "MAX_GRAPHS", 1)
    assert answers(model, 1, 1, 2, 2, 2) == [[4.0], [4.0], *[[8.0, 8.0]] * 3]
    assert len(driver.graphs) == 1
    assert caplog.text.count("runs without a CUDA graph for shapes ((2, 4), ()): 1 other sets") == 1


def test_a_graph_that_gives_something_else_is_not_used(model, driver, caplog):
    driver.does_nothing = True
    assert answers(model, 1, 1, 1) == [[4.0]] * 3
    assert (driver.graphs, driver.streams, driver.memory) == ([], [], {})
    assert caplog.text.count("the graph doesn't give what the session gives") == 1


def test_types_that_numpy_does_not_know(resource, tmp_path, driver):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.bfloat16)], autograph=False)
    def segment(x):
        return tf.identity(x)

    values = [("x:0", tf.bfloat16, [None])], [("y:0", tf.bfloat16, [None])]
    asset = segment_asset(
        tmp_path / "engine", [helper.make_node("Identity", ["x:0"], ["y:0"])], *values
    )
    runtime.bind(resource, asset, executors=["onnxruntime"])
    model = model_of(segment.get_concrete_function(), resource)
    for _ in range(3):
        assert model(tf.constant([1.5, -2.0], tf.bfloat16))[0].numpy().tolist() == [1.5, -2.0]
    assert len(driver.graphs) == 1
