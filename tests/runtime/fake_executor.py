"""An executor in numpy on the host's memory, whose every step a test can change."""

import ctypes

import numpy as np

from tftrt_toolkit.runtime.executor import Prepared


def view(tensor, shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not size:
        return np.empty(shape, dtype)
    buffer = (ctypes.c_char * size).from_address(tensor.data)
    return np.frombuffer(buffer, dtype).reshape(shape)


class FakeExecutor:
    """(x, n) -> (factor * x + n, n + 1): `engines.double_plus`, told apart by the factor."""

    name = "fake"

    def __init__(self, factor=10.0, output_shapes_known=True, scratch_bytes=0):
        self.factor = factor
        self.known = output_shapes_known
        self.scratch_bytes = scratch_bytes
        self.prepared = []
        self.closed = 0

    def prepare(self, call):
        self.prepared.append(call)
        shape = call.inputs[0].shape
        return Prepared(
            lambda call: self.run(call, shape),
            [shape, ()] if self.known else [None, None],
            self.scratch_bytes,
        )

    def run(self, call, shape):
        if not self.known:
            call.allocate_output(0, shape)
            call.allocate_output(1, ())
        x, n = view(call.inputs[0], shape, np.float32), view(call.inputs[1], (), np.int32)
        view(call.outputs[0], shape, np.float32)[...] = self.factor * x + n
        view(call.outputs[1], (), np.int32)[...] = n + 1

    def close(self):
        self.closed += 1
