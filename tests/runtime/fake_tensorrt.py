"""TensorRT's runtime classes in numpy, on the host: an engine doubles x and adds n.

It keeps TensorRT's rules, so that a call in a wrong order, or one that is missing, fails: shapes
and addresses must be set, the profile chosen, and memory given, before a context runs.
"""

import ctypes
import logging
import types

import numpy as np

from tftrt_toolkit.trt import TensorRT


class Allocator:
    def __init__(self):
        self.ready = True


class Context:
    def __init__(self, engine):
        self.engine = engine
        self.profile = None
        self.shapes, self.addresses, self.memory = {}, {}, None

    def set_optimization_profile_async(self, profile, stream):
        self.profile = profile
        return stream == 77

    def set_input_shape(self, name, shape):
        self.engine.log.append(("set_input_shape", name, tuple(shape)))
        self.shapes[name] = tuple(shape)
        return self.profile is not None

    def infer_shapes(self):
        return [name for name in ("x:0", "n:0") if name not in self.shapes]

    def get_tensor_shape(self, name):
        return self.shapes["x:0"] if name == "y:0" else ()

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return bool(address)

    def set_device_memory(self, address, size):
        self.memory = (address, size)

    def execute_async_v3(self, stream):
        assert stream == 77
        assert self.memory[1] == 256 * (self.profile + 1)
        assert self.addresses.keys() == {"x:0", "n:0", "y:0", "m:0"}
        if self.engine.breaks:
            self.engine.say("no kernel image")
            return False

        def at(name, shape, dtype):
            size = int(np.prod(shape))
            kind = ctypes.c_float if dtype == np.float32 else ctypes.c_int32
            buffer = (kind * size).from_address(self.addresses[name])
            return np.frombuffer(buffer, dtype).reshape(shape)

        n = at("n:0", (), np.int32)
        at("y:0", self.shapes["x:0"], np.float32)[...] = (
            self.engine.factor * at("x:0", self.shapes["x:0"], np.float32) + n
        )
        at("m:0", (), np.int32)[...] = n + 1
        return True


class CudaEngine:
    num_io_tensors = 4

    def __init__(self, factor, log, say):
        self.factor, self.log, self.say = factor, log, say
        self.breaks = False
        self.shape_inputs = set()

    def get_tensor_name(self, index):
        return ("x:0", "n:0", "y:0", "m:0")[index]

    def is_shape_inference_io(self, name):
        return name in self.shape_inputs

    def get_device_memory_size_for_profile_v2(self, profile):
        return 256 * (profile + 1)

    def create_execution_context(self, strategy):
        assert strategy == "user managed"
        self.log.append(("context",))
        return Context(self)


def fake_tensorrt(version="1.7.1.116"):
    """A TensorRT whose plans are the factor as bytes. `found.module.log` lists what was called."""
    log = []
    engines = []
    found = None

    class Runtime:
        gpu_allocator = None

        def __init__(self, logger):
            assert logger == "the logger"

        def deserialize_cuda_engine(self, plan):
            assert self.gpu_allocator.ready
            log.append(("deserialize", bytes(plan)))
            if not bytes(plan).isdigit():
                say("magic tag doesn't match")
                return None
            engines.append(CudaEngine(float(bytes(plan)), log, say))
            return engines[-1]

    def say(message):
        from tftrt_toolkit import trt

        trt._dispatch(logging.ERROR, message)

    module = types.SimpleNamespace(
        Runtime=Runtime,
        IGpuAllocator=Allocator,
        ExecutionContextAllocationStrategy=types.SimpleNamespace(USER_MANAGED="user managed"),
        log=log,
        engines=engines,
        __hash__=object.__hash__,
    )

    class Found(TensorRT):
        logger = "the logger"

    found = Found("tensorrt_rtx", version, Module(module))
    return found


class Module:
    """Hashable, as a module is."""

    def __init__(self, content):
        self.__dict__.update(vars(content))
