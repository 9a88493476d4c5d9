"""What only a process of its own shows: exits in the middle of calls, and memory over time."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import tensorflow as tf

ROOT = Path(__file__).parents[2]
PREAMBLE = """
import gc, os, sys, threading, time
import tensorflow as tf
from tests.runtime.engines import double_plus, model_of, new_resource
from tests.runtime.fake_executor import FakeExecutor
from tftrt_toolkit import runtime
from tftrt_toolkit.runtime.executor import install
ONES = tf.ones([1, 4])
"""


def run(program, timeout=120):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PREAMBLE + textwrap.dedent(program)],
        env=os.environ | {"PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(params=["CPU:0", pytest.param("GPU:0", marks=pytest.mark.gpu)])
def device(request):
    if not tf.config.list_physical_devices(request.param[:3]):
        pytest.skip("no GPU here")
    return request.param


@pytest.mark.parametrize(
    "executor",
    ["fake", *(pytest.param(name, marks=pytest.mark.slow) for name in ("native", "xla"))],
)
def test_a_process_may_exit_while_daemon_threads_call(executor, device):
    done = run(
        f"""
        resource = new_resource()
        model = model_of(double_plus(), resource, "{device}")
        model(ONES, 3)
        if "{executor}" == "fake":
            class Lingers(FakeExecutor):
                def run(self, call, shape):
                    time.sleep(0.01)
                    super().run(call, shape)
            install(resource, Lingers(), hold=True)
        else:
            from tftrt_toolkit.runtime import bridge, loading
            mode = getattr(bridge, "{executor}".upper())
            loading.op_library().bind(resource, "{executor}", mode, None, True)
        def call():
            while True:
                model(ONES, 3)
        for _ in range(8):
            threading.Thread(target=call, daemon=True).start()
        time.sleep(0.5)
        print("leaving", flush=True)
        """
    )
    assert done.stdout == "leaving\n"
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_exit_waits_for_an_executor_that_is_in_the_middle():
    done = run(
        """
        resource = new_resource()
        model = model_of(double_plus(), resource)
        entered = threading.Event()
        class Slow(FakeExecutor):
            def run(self, call, shape):
                entered.set()
                time.sleep(1.5)
                super().run(call, shape)
                print("finished", flush=True)
        install(resource, Slow(), hold=True)
        threading.Thread(target=lambda: model(ONES, 3), daemon=True).start()
        entered.wait()
        print("leaving", flush=True)
        """
    )
    assert done.stdout.split() == ["leaving", "finished"]
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_a_model_that_is_dropped_breaks_no_other(device):
    done = run(
        f"""
        def make(factor):
            resource = new_resource()
            model = model_of(double_plus(), resource, "{device}")
            install(resource, FakeExecutor(factor), hold=False)
            return model
        kept, wrong, stop = make(10.0), [], threading.Event()
        def call(n):
            while not stop.is_set():
                if kept(ONES, n)[0].numpy()[0, 0] != 10.0 + n:
                    wrong.append(n)
        threads = [threading.Thread(target=call, args=(n,)) for n in range(16)]
        for thread in threads: thread.start()
        for factor in range(20):
            other = make(float(factor))
            assert other(ONES, 1)[0].numpy()[0, 0] == factor + 1
            del other
            gc.collect()
        stop.set()
        for thread in threads: thread.join()
        print(len(wrong))
        """
    )
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr[-2000:]


@pytest.mark.slow
def test_loading_and_dropping_does_not_pile_up_memory(tmp_path):
    """TensorFlow's own loader grows; ours may add nothing to what it adds without engines."""
    done = run(
        f"""
        from pathlib import Path
        from tests.runtime.assets import double_plus_asset, save
        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        def growth(load, rounds=60):
            for n in range(2 * rounds):
                if n == rounds:
                    gc.collect(); start = resident()
                load().serve(ONES, 3)
                gc.collect()
            return (resident() - start) / rounds
        resource = new_resource()
        asset = double_plus_asset(Path({str(tmp_path)!r}) / "engine", factor=3.0)
        model = model_of(double_plus(), resource)
        directory = save({str(tmp_path / "model")!r}, model, resource, asset.path)
        plain = growth(lambda: runtime.load(directory, executors=["native"]))
        engines = growth(lambda: runtime.load(directory, executors=["onnxruntime"]))
        from tftrt_toolkit.runtime import executor
        print(plain, engines, len(executor._runs), len(executor._executors))
        """,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    plain, engines, runs, executors = map(float, done.stdout.split())
    assert engines < plain + 40_000  # bytes a round; one session has more than a megabyte
    assert runs == 0
    assert executors == 1  # bound still, for a signature may outlive its model, but closed
