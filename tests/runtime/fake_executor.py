"""An executor in numpy, whose every step a test can change."""

import ctypes

import numpy as np

from tftrt_toolkit.runtime import cuda_driver
from tftrt_toolkit.runtime.executor import Prepared


def read(call, tensor, shape, dtype):
    """A copy of a tensor, from wherever it lies."""
    array = np.empty(shape, dtype)
    if array.nbytes:
        copy(call, array.ctypes.data, tensor.data, array.nbytes, cuda_driver.copy_to_host)
    return array


def write(call, tensor, array):
    array = np.ascontiguousarray(array)
    if array.nbytes:
        copy(call, tensor.data, array.ctypes.data, array.nbytes, cuda_driver.copy_to_device)


def copy(call, target, source, size, on_gpu):
    if call.device < 0:
        ctypes.memmove(target, source, size)
    else:
        on_gpu(target, source, size, call.stream)


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
        x = read(call, call.inputs[0], shape, np.float32)
        n = read(call, call.inputs[1], (), np.int32)
        write(call, call.outputs[0], np.float32(self.factor) * x + n.astype(np.float32))
        write(call, call.outputs[1], n + np.int32(1))

    def close(self):
        self.closed += 1
