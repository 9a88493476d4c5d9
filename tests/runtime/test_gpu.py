"""The kernel on a GPU: where its tensors lie, whose stream it uses, and what it costs."""

import pytest
import tensorflow as tf

from tests.runtime.engines import double_plus, engine, model_of, stats
from tftrt_toolkit import runtime
from tftrt_toolkit.runtime import bridge
from tftrt_toolkit.runtime.executor import Prepared, install
from tftrt_toolkit.runtime.loading import op_library

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="no GPU here"),
]


@pytest.mark.parametrize("mode", [bridge.NATIVE, bridge.XLA])
def test_int32_tensors_live_on_the_device(resource, mode):
    """A function keeps int32 on the host, a kernel in device memory."""
    segment = double_plus()

    @tf.function
    def model(x, n):
        with tf.device("GPU:0"):
            y, m = engine([x, n + 1], segment, resource)
            return y, m * 2

    op_library().bind(resource, "chosen", mode, None, True)
    with tf.device("GPU:0"):
        for rows in (1, 5, 0):
            y, m = model(tf.ones([rows, 4]), tf.constant(3))
            assert y.numpy().tolist() == [[6.0] * 4] * rows
            assert m.numpy() == 10
    assert stats(resource).failed == 0


def test_shapes_that_are_int32_tensors(resource):
    @tf.function(
        input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([2], tf.int32)], autograph=False
    )
    def segment(x, shape):
        y = tf.reshape(x, shape)
        return y, tf.shape(y) + shape

    model = model_of(segment.get_concrete_function(), resource)
    with tf.device("GPU:0"):
        y, s = model(tf.range(8.0)[:, None] * tf.ones([1, 4]), tf.constant([16, 2]))
    assert y.shape == (16, 2)
    assert s.numpy().tolist() == [32, 4]


def test_variables_on_the_gpu_reach_the_native_function(resource):
    with tf.device("GPU:0"):
        variable = tf.Variable(tf.ones([4]) * 3.0)

    @tf.function(
        input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([], tf.resource)], autograph=False
    )
    def segment(x, handle):
        return x * tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)

    native = segment.get_concrete_function()

    @tf.function
    def model(x):
        return engine([x, variable.handle], native, resource)[0]

    for mode in (bridge.NATIVE, bridge.XLA):
        op_library().bind(resource, "chosen", mode, None, True)
        assert model(tf.ones([2, 4])).numpy().tolist() == [[3.0] * 4] * 2
    assert stats(resource).failed == 0


def test_observers_get_host_copies(resource):
    model = model_of(double_plus(), resource)
    seen = []
    with tf.device("GPU:0"), runtime.observe({resource: lambda *arrays: seen.append(arrays)}):
        model(tf.ones([2, 4]), tf.constant(3))
    [((x, n), (y, m))] = seen
    assert (x == 1).all()
    assert (y == 5).all()
    assert (n, m) == (3, 4)


def test_executors_get_device_memory_and_tensorflows_stream(resource):
    calls, runs = [], []

    class Notes:
        name = "notes"

        def prepare(self, call):
            calls.append(call)
            return Prepared(self.run, [call.inputs[0].shape, ()], scratch_bytes=1 << 20)

        def run(self, call):
            runs.append((call.device, call.stream, call.scratch, call.outputs[0].data))

        def close(self):
            pass

    model = model_of(double_plus(), resource)
    install(resource, Notes(), hold=True)
    with tf.device("GPU:0"):
        for _ in range(2):
            model(tf.ones([2, 4]), tf.constant(3))
    assert len(calls) == 1
    assert all(all(run) or run[0] == 0 for run in runs)
    assert {run[1] for run in runs} == {calls[0].stream}
    library = op_library()
    address = library.device_allocate(0, 1 << 20)
    assert address
    library.device_free(0, address)
