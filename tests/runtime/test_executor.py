import threading

import pytest
import tensorflow as tf

from tests.runtime.engines import double_plus, engine, model_of, stats
from tests.runtime.fake_executor import FakeExecutor
from tftrt_toolkit import runtime
from tftrt_toolkit.runtime import bridge
from tftrt_toolkit.runtime.executor import DeclinedError, Prepared, install
from tftrt_toolkit.runtime.loading import op_library


@pytest.fixture(params=["CPU:0", pytest.param("GPU:0", marks=pytest.mark.gpu)], autouse=True)
def device(request):
    if not tf.config.list_physical_devices(request.param[:3]):
        pytest.skip("no GPU here")
    with tf.device(request.param):
        yield request.param


@pytest.fixture
def model(resource, device):
    return model_of(double_plus(), resource, device)  # threads know nothing of a device scope


@pytest.fixture(params=["call", "environment"])
def strict(request, monkeypatch):
    if request.param == "call":
        runtime.set_strict(True)
    else:
        monkeypatch.setenv("TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION", "False")
    yield
    runtime.set_strict(False)


def first(outputs):
    return outputs[0].numpy().tolist()


ONES = tf.ones([1, 4])
NATIVE, FAKE = [[5.0] * 4], [[13.0] * 4]  # for an n of 3


@pytest.mark.parametrize("known", [True, False])
def test_the_bound_executor_runs_and_is_closed_once(model, resource, known):
    executor = FakeExecutor(output_shapes_known=known)
    install(resource, executor, hold=True)
    outputs = model(ONES, 3)
    assert first(outputs) == FAKE
    assert outputs[1].numpy() == 4
    assert executor.closed == 0
    op_library().unbind(resource)
    assert executor.closed == 1
    assert first(model(ONES, 3)) == NATIVE


def test_each_shape_is_prepared_once(model, resource, device):
    executor = FakeExecutor()
    install(resource, executor, hold=True)
    for rows in (1, 2, 1, 2, 0):
        assert model(tf.ones([rows, 4]), 3)[0].shape == (rows, 4)
    assert [call.inputs[0].shape for call in executor.prepared] == [(1, 4), (2, 4), (0, 4)]
    call = executor.prepared[0]
    assert (call.num_outputs, call.allow_build) == (2, True)
    assert (call.device, call.stream > 0) == ((0, True) if device == "GPU:0" else (None, False))
    assert [one.dtype for one in call.inputs] == [tf.float32, tf.int32]


def test_plans_of_many_shapes_are_forgotten(model, resource):
    from tftrt_toolkit.runtime import executor as module

    before = len(module._runs)
    install(resource, FakeExecutor(), hold=True)
    for rows in range(150):
        model(tf.ones([rows, 4]), 3)
    assert len(module._runs) - before <= 64
    op_library().unbind(resource)
    assert len(module._runs) == before


def test_the_node_tells_whether_engines_may_be_built(resource):
    segment, executor = double_plus(), FakeExecutor()

    @tf.function
    def model(x):
        outputs = engine([x, 3], segment, resource)
        outputs[0].op._set_attr("_allow_build_at_runtime", tf.compat.v1.AttrValue(b=False))
        return outputs

    install(resource, executor, hold=True)
    model(ONES)
    assert executor.prepared[0].allow_build is False


def test_inputs_behind_the_segments_own_are_left_out(resource):
    segment, executor = double_plus(), FakeExecutor()

    @tf.function
    def model(x, n):
        outputs = engine([x, n], segment, resource)
        shapes = tf.compat.v1.AttrValue()
        shapes.list.shape.append(tf.TensorShape([None, 4]).as_proto())
        outputs[0].op._set_attr("input_shapes", shapes)
        return outputs

    executor.run = lambda call, shape: None
    install(resource, executor, hold=True)
    model(ONES, 3)
    assert [one.shape for one in executor.prepared[0].inputs] == [(1, 4)]


def test_scratch_is_lent_for_the_call(model, resource):
    lent = []

    class Scratch(FakeExecutor):
        def run(self, call, shape):
            lent.append((bool(call.scratch), call.scratch_bytes))
            super().run(call, shape)

    install(resource, Scratch(scratch_bytes=4096), hold=True)
    assert first(model(ONES, 3)) == FAKE
    assert lent == [(True, 4096)]


class Declines(FakeExecutor):
    asked = 0

    def prepare(self, call):
        if call.inputs[0].shape[0] > 1:
            self.asked += 1
            raise DeclinedError("x has more rows than any profile")
        return super().prepare(call)


def test_a_declined_call_runs_natively_and_the_next_does_not(model, resource, caplog):
    executor = Declines()
    install(resource, executor, hold=True)
    for _ in range(3):
        assert first(model(tf.ones([2, 4]), 3)) == NATIVE * 2
    assert first(model(ONES, 3)) == FAKE
    assert [record.message for record in caplog.records].count(
        f"{resource} runs natively (this call): fake: x has more rows than any profile"
    ) == 1
    found = stats(resource)
    assert (found.declined, found.calls, found.native_calls, found.executor) == (3, 1, 3, "fake")
    assert executor.asked == 1


@pytest.mark.parametrize("after_writing", [False, True])
def test_a_failing_executor_is_retired(model, resource, caplog, after_writing):
    class Fails(FakeExecutor):
        def run(self, call, shape):
            if after_writing:
                super().run(call, shape)
            raise ValueError("out of\nluck")

    executor = Fails(output_shapes_known=not after_writing)
    install(resource, executor, hold=True)
    assert first(model(ONES, 3)) == NATIVE
    assert executor.closed == 1
    assert first(model(ONES, 3)) == NATIVE
    assert f"{resource} runs natively (from now on): fake: ValueError: out of luck" in caplog.text
    found = stats(resource)
    assert (found.failed, found.executor, found.native_calls) == (1, "native", 2)
    assert found.reason == "ValueError: out of luck"


def test_an_output_that_was_not_written_is_a_failure(model, resource):
    executor = FakeExecutor(output_shapes_known=False)
    executor.run = lambda call, shape: call.allocate_output(0, shape)
    install(resource, executor, hold=True)
    assert first(model(ONES, 3)) == NATIVE
    assert stats(resource).reason == "output 1 was not written"


@pytest.mark.slow  # TensorFlow tries for ten seconds
def test_an_output_beyond_all_memory_is_declined(model, resource):
    executor = FakeExecutor(scratch_bytes=1 << 50)
    install(resource, executor, hold=True)
    assert first(model(ONES, 3)) == NATIVE
    assert (stats(resource).declined, stats(resource).failed) == (1, 0)


@pytest.mark.usefixtures("strict")
def test_strict_mode_makes_a_fallback_an_error(model, resource):
    with pytest.raises(tf.errors.FailedPreconditionError, match="no executor is bound"):
        model(ONES, 3)
    install(resource, Declines(), hold=True)
    with pytest.raises(tf.errors.FailedPreconditionError, match="more rows than any profile"):
        model(tf.ones([2, 4]), 3)
    assert first(model(ONES, 3)) == FAKE
    with runtime.observe({resource: lambda *_: None}):
        assert first(model(ONES, 3)) == NATIVE
    op_library().bind(resource, "native", bridge.NATIVE, None, True)
    assert first(model(ONES, 3)) == NATIVE


def test_shapes_may_be_better_native_or_by_xla(model, resource):
    class PerShape(FakeExecutor):
        def prepare(self, call):
            mode = {1: bridge.NATIVE, 2: bridge.XLA}.get(call.inputs[0].shape[0])
            return super().prepare(call) if mode is None else Prepared(print, [None] * 2, 0, mode)

    install(resource, PerShape(), hold=True)
    assert first(model(ONES, 3)) == NATIVE
    assert first(model(tf.ones([2, 4]), 3)) == NATIVE * 2
    assert first(model(tf.ones([3, 4]), 3)) == FAKE * 3
    found = stats(resource)
    assert (found.calls, found.native_calls, found.declined) == (2, 1, 0)


def test_the_profiler_shows_each_segment_and_its_executor(model, resource, tmp_path):
    model(ONES, 3)
    with tf.profiler.experimental.Profile(str(tmp_path)):
        model(ONES, 3)
        install(resource, FakeExecutor(), hold=True)
        model(ONES, 3)
        op_library().bind(resource, "xla", bridge.XLA, None, True)
        model(ONES, 3)
    [trace] = tmp_path.rglob("*.xplane.pb")
    for executor in ("native", "fake", "xla"):
        assert f"{resource} [{executor}]".encode() in trace.read_bytes()


def test_xla_compiles_the_native_function(model, resource):
    op_library().bind(resource, "xla", bridge.XLA, None, True)
    assert first(model(ONES, 3)) == NATIVE
    assert model(tf.ones([2, 4]), 3)[1].numpy() == 4
    assert (stats(resource).calls, stats(resource).native_calls) == (2, 0)


def test_what_xla_cannot_compile_runs_natively(resource, caplog):
    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)], autograph=False)
    def segment(n):
        text = tf.strings.as_string(n)
        return tf.strings.length(text)

    model = model_of(segment.get_concrete_function(), resource)
    op_library().bind(resource, "xla", bridge.XLA, None, True)
    assert model(tf.constant(1234))[0].numpy() == 4
    assert model(tf.constant(12345))[0].numpy() == 5
    assert (stats(resource).failed, stats(resource).native_calls) == (1, 2)
    assert "runs natively (from now on): xla" in caplog.text


def test_unbinding_waits_for_no_call_and_breaks_none(model, resource):
    entered, go_on = threading.Event(), threading.Event()

    class Slow(FakeExecutor):
        def run(self, call, shape):
            entered.set()
            assert go_on.wait(30)
            super().run(call, shape)

    executor = Slow()
    install(resource, executor, hold=True)
    results = []
    thread = threading.Thread(target=lambda: results.append(first(model(ONES, 3))))
    thread.start()
    assert entered.wait(30)
    op_library().unbind(resource)
    assert first(model(ONES, 3)) == NATIVE
    assert executor.closed == 0
    go_on.set()
    thread.join()
    assert results == [FAKE]
    assert executor.closed == 1


def test_threads_that_bind_and_call_get_one_answer_or_the_other(model, resource):
    executors = [FakeExecutor(factor) for factor in (10.0, 20.0) for _ in range(50)]
    stop, wrong = threading.Event(), []

    def call(n):
        allowed = [[factor + n] * 4 for factor in (2.0, 10.0, 20.0)]
        while not stop.is_set():
            [row] = first(model(ONES, n))
            if row not in allowed:
                wrong.append(row)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for executor in executors:
        install(resource, executor, hold=True)
    stop.set()
    for thread in threads:
        thread.join()
    op_library().unbind(resource)
    assert not wrong
    assert [executor.closed for executor in executors] == [1] * len(executors)


def test_times_are_kept_only_while_asked_for(model, resource):
    library = op_library()
    install(resource, FakeExecutor(), hold=True)
    model(ONES, 3)
    library.time(resource, True)
    model(ONES, 3)
    library.unbind(resource)
    model(ONES, 3)
    library.time(resource, False)
    model(ONES, 3)
    times = library.take_times(resource)
    assert len(times) == 2
    assert all(0 < seconds < 10 for seconds in times)
    assert library.take_times(resource) == []
