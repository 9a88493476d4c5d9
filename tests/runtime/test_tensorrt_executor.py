"""The executor's choices and its order of calls, on a TensorRT that is faked in numpy.

Whether the real one has these calls is tested in `tests/test_trt.py`; none ran on a GPU.
"""

import ctypes

import numpy as np
import pytest
import tensorflow as tf

from tests.runtime.assets import double_plus_asset
from tests.runtime.fake_tensorrt import fake_tensorrt
from tftrt_toolkit import trt
from tftrt_toolkit.artifacts import Plan, ShapeProfile, ShapeRange
from tftrt_toolkit.errors import EngineBuildError
from tftrt_toolkit.runtime import bridge, loading, selection, tensorrt_engine
from tftrt_toolkit.runtime.executor import CallInfo, DeclinedError, Input
from tftrt_toolkit.runtime.tensorrt_executor import TensorRtExecutor

STREAM = 77


def profile(low, high, values=None):
    rows = ShapeRange((low, 4), (high, 4), (high, 4))
    table = {} if values is None else {"n:0": ShapeRange(*((one,) for one in values))}
    return ShapeProfile({"x:0": rows, "n:0": ShapeRange((), (), ())}, table)


def plan(key, *profiles, targets=("8.9",), version="1.7.1.116"):
    return Plan(
        "tensorrt_rtx", version, targets, profiles, "FP32", key, key.encode(), len(key), 0.0
    )


@pytest.fixture
def found(monkeypatch):
    fake = fake_tensorrt()
    monkeypatch.setattr(trt, "load", lambda flavour: fake)
    for module in ("tensorrt_executor", "selection"):
        name = f"tftrt_toolkit.runtime.{module}.capability_of"
        monkeypatch.setattr(name, lambda ordinal: "8.9" if ordinal == 0 else "")
    monkeypatch.setattr(selection, "gpu_capabilities", lambda: ("8.9",))
    loading.op_library()
    return fake


def executor(tmp_path, *plans, cached=1, build=None):
    asset = double_plus_asset(tmp_path / "engine", plans=plans)
    return TensorRtExecutor(asset, asset.plans, cached, build)


def info(rows, device=0, allow_build=True):
    inputs = (
        Input(tf.float32, (rows, 4), 1, 16 * rows),
        Input(tf.int32, (), 1, 4),
    )
    return CallInfo(inputs, (tf.float32, tf.int32), device, STREAM, allow_build)


class Call:
    """A CCall on host memory."""

    def __init__(self, prepared, rows, n=3):
        self.x, self.n = np.ones((rows, 4), np.float32), np.array(n, np.int32)
        self.y, self.m = np.zeros((rows, 4), np.float32), np.array(0, np.int32)
        self.inputs = self._tensors(self.x, self.n)
        self.outputs = self._tensors(self.y, self.m)
        self.call = bridge.CCall(
            inputs=self.inputs, outputs=self.outputs, num_inputs=2, num_outputs=2, device=0,
            stream=STREAM, scratch=4096, scratch_bytes=prepared.scratch_bytes,
        )  # fmt: skip
        prepared.run(self.call)

    def _tensors(self, *arrays):
        self.dims = [*getattr(self, "dims", ()), *((ctypes.c_int64 * 2)(*a.shape) for a in arrays)]
        return (bridge.CTensor * 2)(
            *(
                bridge.CTensor(a.ctypes.data, d, a.nbytes, a.ndim, 1)
                for a, d in zip(arrays, self.dims[-2:], strict=True)
            )
        )


def deserialized(found):
    return [entry[1] for entry in found.module.log if entry[0] == "deserialize"]


def test_an_engine_runs_on_the_calls_own_memory(found, tmp_path):
    runner = executor(tmp_path, plan("5", profile(1, 8)))
    prepared = runner.prepare(info(2))
    assert prepared.output_shapes == [(2, 4), ()]
    assert prepared.scratch_bytes == 256
    call = Call(prepared, 2)
    assert call.y.tolist() == [[8.0] * 4] * 2
    assert call.m == 4
    Call(prepared, 2)
    # One engine, one context, each shape set once.
    assert found.module.log == [
        ("deserialize", b"5"),
        ("context",),
        ("set_input_shape", "x:0", (2, 4)),
        ("set_input_shape", "n:0", ()),
    ]


def test_shapes_take_turns_in_one_context(found, tmp_path):
    runner = executor(tmp_path, plan("5", profile(1, 8)))
    two, three = runner.prepare(info(2)), runner.prepare(info(3))
    for prepared, rows in ((two, 2), (three, 3), (two, 2)):
        assert Call(prepared, rows).y.tolist() == [[8.0] * 4] * rows
    assert found.module.log.count(("context",)) == 1


def test_the_tightest_profile_is_taken(found, tmp_path):
    runner = executor(tmp_path, plan("5", profile(1, 64), profile(1, 8), profile(1, 16)))
    assert [runner.prepare(info(rows)).scratch_bytes for rows in (8, 9, 64)] == [512, 768, 256]


def test_the_tightest_plan_is_taken_and_the_oldest_goes(found, tmp_path):
    runner = executor(tmp_path, plan("5", profile(1, 64)), plan("6", profile(1, 8)))
    small, large = runner.prepare(info(8)), runner.prepare(info(9))
    assert Call(small, 8).y[0, 0] == 9.0
    assert Call(large, 9).y[0, 0] == 8.0
    assert deserialized(found) == [b"6", b"5", b"6", b"5"]


def test_as_many_engines_are_kept_as_allowed(found, tmp_path):
    runner = executor(tmp_path, plan("5", profile(1, 64)), plan("6", profile(1, 8)), cached=2)
    small, large = runner.prepare(info(8)), runner.prepare(info(9))
    for _ in range(2):
        assert Call(small, 8).y[0, 0] == 9.0
        assert Call(large, 9).y[0, 0] == 8.0
    assert deserialized(found) == [b"6", b"5"]
    runner.close()
    assert Call(small, 8).y[0, 0] == 9.0
    assert deserialized(found) == [b"6", b"5", b"6"]


def test_shapes_outside_every_profile_are_declined(found, tmp_path):
    runner = executor(tmp_path, plan("5", profile(2, 8)), plan("6", profile(20, 30)))
    for rows in (1, 9, 31):
        with pytest.raises(DeclinedError, match=rf"no plan's profile takes x:0 \[{rows}, 4\], n:0"):
            runner.prepare(info(rows))


def test_a_plan_without_profiles_takes_only_the_declared_shapes(found, tmp_path):
    with pytest.raises(DeclinedError, match="no plan's profile takes"):
        executor(tmp_path, plan("5")).prepare(info(1))


def test_the_cpu_and_other_gpus_are_declined(found, tmp_path):
    runner = executor(tmp_path, plan("5", profile(1, 8)))
    with pytest.raises(DeclinedError, match="TensorRT needs a GPU"):
        runner.prepare(info(1, device=None))
    with pytest.raises(DeclinedError, match="no plan's profile takes"):
        runner.prepare(info(1, device=1))


def test_a_plan_that_cannot_be_deserialized_tells_tensorrts_words(found, tmp_path):
    runner = executor(tmp_path, plan("damaged", profile(1, 8)))
    with pytest.raises(RuntimeError, match="doesn't take the plan: magic tag doesn't match"):
        runner.prepare(info(1))


def test_a_run_that_fails_tells_tensorrts_words(found, tmp_path):
    prepared = executor(tmp_path, plan("5", profile(1, 8))).prepare(info(1))
    found.module.engines[0].breaks = True
    with pytest.raises(RuntimeError, match="can't run it: no kernel image"):
        Call(prepared, 1)


def test_a_missing_shape_is_built_for_once_if_allowed(found, tmp_path):
    asked = []

    def build(asset, wanted):
        asked.append(wanted.shapes["x:0"])
        return [plan("7", wanted)]

    runner = executor(tmp_path, plan("5", profile(1, 8)), build=build)
    with pytest.raises(DeclinedError, match="no plan's profile takes"):
        runner.prepare(info(9, allow_build=False))
    assert Call(runner.prepare(info(9)), 9).y[0, 0] == 10.0
    assert Call(runner.prepare(info(9)), 9).y[0, 0] == 10.0
    assert asked == [ShapeRange((9, 4), (9, 4), (9, 4))]


def test_a_build_that_failed_is_not_tried_again(found, tmp_path):
    tries = []

    def build(asset, wanted):
        tries.append(1)
        raise EngineBuildError("no runners")

    runner = executor(tmp_path, plan("5", profile(1, 8)), build=build)
    for _ in range(2):
        with pytest.raises(DeclinedError, match="none could be built: no runners"):
            runner.prepare(info(9))
    assert tries == [1]


def test_values_that_are_shapes_are_read_and_checked(found, tmp_path, monkeypatch):
    monkeypatch.setattr(
        tensorrt_engine,
        "copy_to_host",
        lambda target, source, size, stream: ctypes.memmove(target, source, size),
    )
    shape_inputs = property(lambda self: {"n:0"}, lambda self, value: None)
    monkeypatch.setattr(
        "tests.runtime.fake_tensorrt.CudaEngine.shape_inputs", shape_inputs, raising=False
    )
    prepared = executor(tmp_path, plan("5", profile(1, 8, values=(2, 3, 4)))).prepare(info(1))
    assert prepared.output_shapes == [None, None]
    monkeypatch.setattr(
        bridge.CCall, "allocate_output", lambda self, index, shape: self.outputs[index].data
    )
    assert Call(prepared, 1, n=4).y[0, 0] == 9.0
    with pytest.raises(DeclinedError, match=r"takes the values \[5\] of n:0"):
        Call(prepared, 1, n=5)


def test_memory_is_tensorflows(found, tmp_path, monkeypatch):
    given, taken = [], []
    library = loading.op_library()
    monkeypatch.setattr(library, "device_allocate", lambda d, size: given.append((d, size)) or 512)
    monkeypatch.setattr(library, "device_free", lambda d, address: taken.append((d, address)))
    pool = tensorrt_engine._pool(found.module, 0)
    assert pool.allocate(64, 0, 0) == pool.allocate_async(64, 0, 0, STREAM) == 512
    assert pool.allocate(0, 0, 0) is None
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
    )
    assert pool.deallocate(512)
    assert pool.deallocate_async(new(768, None, None), STREAM)
    assert given == [(0, 64)] * 2
    assert taken == [(0, 512), (0, 768)]
