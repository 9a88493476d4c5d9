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
from tftrt_toolkit.runtime import cuda_driver, onnxruntime_graph, selection
from tftrt_toolkit.runtime.executor import CallInfo, DeclinedError, Input
from tftrt_toolkit.runtime.onnxruntime_graph import OnnxRuntimeGraphExecutor

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
    monkeypatch.setattr(
        onnxruntime_graph,
        "Session",
        lambda asset, device, stream, shapes: CPU_SESSION(asset, None, 0, shapes),
    )
    monkeypatch.setattr(selection, "gpu_capabilities", lambda: ("9.0",))
    describe = runtime.executor._describe
    monkeypatch.setattr(
        runtime.executor,
        "_describe",
        lambda call: CallInfo(**(vars(describe(call)) | {"device": 0})),
    )
    return found


@pytest.fixture
def resource(driver):  # it goes before the driver does
    name = new_resource()
    yield name
    runtime.bind(name, None)


@pytest.fixture
def model(resource, tmp_path):
    asset = double_plus_asset(tmp_path / "engine", factor=3.0)
    assert runtime.bind(resource, asset, executors=["onnxruntime_graph"]).reason == ""
    return model_of(double_plus(), resource)


def answers(model, *sizes):
    return [model(tf.fill([n, 4], float(n)), n)[0].numpy()[:, :1].ravel().tolist() for n in sizes]


def test_each_set_of_shapes_has_a_graph_of_its_own(model, resource, driver):
    assert answers(model, 2, 1, 2) == [[8.0, 8.0], [4.0], [8.0, 8.0]]
    assert len(driver.graphs) == len(driver.streams) == 2
    runtime.bind(resource, None)
    assert (driver.graphs, driver.streams, driver.memory) == ([], [], {})


def test_no_rows_need_no_memory(model, driver):
    assert answers(model, 0) == [[]]
    assert len(driver.graphs) == 1


def test_shapes_beyond_the_most_graphs_run_without(model, driver, monkeypatch, caplog):
    monkeypatch.setattr(onnxruntime_graph, "MAX_GRAPHS", 1)
    monkeypatch.setattr(onnxruntime_graph.OnnxRuntimeExecutor, "prepare", on_the_cpu())
    assert answers(model, 1, 2) == [[4.0], [8.0, 8.0]]
    assert len(driver.graphs) == 1
    assert "runs without a CUDA graph for shapes ((2, 4), ()): 1 other sets" in caplog.text


def test_a_graph_that_gives_something_else_is_not_used(model, driver, monkeypatch, caplog):
    driver.does_nothing = True
    monkeypatch.setattr(onnxruntime_graph.OnnxRuntimeExecutor, "prepare", on_the_cpu())
    assert answers(model, 1) == [[4.0]]
    assert (driver.graphs, driver.streams, driver.memory) == ([], [], {})
    assert "the graph doesn't give what the session gives" in caplog.text


def on_the_cpu():
    prepare = onnxruntime_graph.OnnxRuntimeExecutor.prepare
    return lambda self, call: prepare(self, CallInfo(**(vars(call) | {"device": None})))


def test_without_a_gpu_it_is_not_taken(tmp_path):
    asset = double_plus_asset(tmp_path / "engine")
    choice = selection.choose(asset.manifest, ["onnxruntime_graph", "onnxruntime"])
    assert (choice.executor, choice.reason) == ("onnxruntime", "CUDA graphs need a GPU")
    call = CallInfo((Input(tf.float32, (1, 4), 0, 16),), 1, None, 0, False)
    with pytest.raises(DeclinedError, match="CUDA graphs need a GPU"):
        OnnxRuntimeGraphExecutor(asset).prepare(call)


def test_types_that_numpy_does_not_know(resource, tmp_path, driver):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.bfloat16)], autograph=False)
    def segment(x):
        return tf.identity(x)

    values = [("x:0", tf.bfloat16, [None])], [("y:0", tf.bfloat16, [None])]
    asset = segment_asset(
        tmp_path / "engine", [helper.make_node("Identity", ["x:0"], ["y:0"])], *values
    )
    runtime.bind(resource, asset, executors=["onnxruntime_graph"])
    model = model_of(segment.get_concrete_function(), resource)
    assert model(tf.constant([1.5, -2.0], tf.bfloat16))[0].numpy().tolist() == [1.5, -2.0]
    assert len(driver.graphs) == 1
