import pytest
import tensorflow as tf

from tests.runtime.assets import double_plus_asset
from tests.runtime.test_tensorrt_executor import plan, profile
from tftrt_toolkit import trt
from tftrt_toolkit.manifest import TunedExecutor
from tftrt_toolkit.runtime import selection
from tftrt_toolkit.runtime.selection import DEFAULT, choose


@pytest.fixture
def machine(monkeypatch):
    """Sets the GPUs and the TensorRTs that seem to be there."""

    def be(*capabilities, **versions):
        monkeypatch.setattr(selection, "gpu_capabilities", lambda: capabilities)
        monkeypatch.setattr(selection, "device_name", lambda: "NVIDIA H200")

        def load(flavour):
            if flavour in versions:
                return trt.TensorRT(flavour, versions[flavour], None)
            return trt.Unavailable(f"{flavour} is not installed")

        monkeypatch.setattr(trt, "load", load)

    return be


@pytest.fixture
def manifest(tmp_path):
    plans = [
        plan("a", profile(1, 8), targets=("12.0", "8.6", "8.9")),
        plan("b", profile(1, 8), targets=("8.0",)),
    ]
    return double_plus_asset(tmp_path / "engine", plans=plans).manifest


@pytest.mark.parametrize(
    ("capabilities", "versions", "reason"),
    [
        ((), {"tensorrt_rtx": "1.7.1.116"}, "no GPU here"),
        (
            ("9.0",),
            {"tensorrt_rtx": "1.7.1.116"},
            "no plan for compute capability 9.0; it has 8.0, 8.6, 8.9, 12.0",
        ),
        (("8.9",), {}, "tensorrt_rtx is not installed"),
        (
            ("8.9",),
            {"tensorrt_rtx": "1.8.0.3"},
            "its plan is of tensorrt_rtx 1.7.1.116, here is 1.8.0.3, "
            "and plans don't move between versions",
        ),
    ],
)
def test_without_a_plan_that_fits_it_is_native_and_tells_why(
    machine, manifest, capabilities, versions, reason
):
    machine(*capabilities, **versions)
    choice = choose(manifest, DEFAULT)
    assert (choice.executor, choice.reason) == ("native", reason)


def test_the_plans_that_fit_are_taken(machine, manifest):
    machine("9.0", "8.9", tensorrt_rtx="1.7.1.200")
    choice = choose(manifest, DEFAULT)
    assert (choice.executor, choice.reason) == ("tensorrt", "")
    assert [one.source_key for one in choice.plans] == ["a"]


def test_the_first_allowed_one_that_can_is_taken(machine, manifest):
    machine("9.0", tensorrt_rtx="1.7.1.116")
    assert choose(manifest, ["tensorrt", "onnxruntime", "xla"]).executor == "onnxruntime"
    assert choose(manifest, ["xla", "onnxruntime"]).executor == "xla"
    assert choose(manifest, ["native", "onnxruntime"]).executor == "native"
    assert choose(manifest, []).executor == "native"


def test_engines_that_can_be_built_here_are_worth_tensorrt(machine, manifest):
    machine("9.0", tensorrt="10.9.0")
    choice = choose(manifest, DEFAULT, can_build=lambda: True)
    assert (choice.executor, choice.plans) == ("tensorrt", ())
    machine(tensorrt="10.9.0")
    assert choose(manifest, DEFAULT, can_build=lambda: True).reason == "no GPU here"


def test_winners_of_this_device_come_first(machine, manifest, tmp_path):
    machine("8.9", tensorrt_rtx="1.7.1.116")
    asset = double_plus_asset(tmp_path / "tuned", plans=[plan("a", profile(1, 8))])
    here = TunedExecutor("NVIDIA H200", {"x:0": (1, 4), "n:0": ()}, "xla", {"xla": 1.0})
    there = TunedExecutor("NVIDIA L4", {"x:0": (1, 4), "n:0": ()}, "native", {"native": 1.0})
    tuned = asset.with_tuned([here, there]).manifest
    choice = choose(tuned, DEFAULT)
    assert (choice.executor, choice.tuned) == ("tuned", (here,))
    elsewhere = double_plus_asset(tmp_path / "elsewhere").with_tuned([there]).manifest
    assert choose(elsewhere, ["tuned", "xla"]).executor == "xla"


def test_onnx_that_is_not_there_cannot_run(machine, manifest):
    import dataclasses

    machine()
    bare = dataclasses.replace(manifest, onnx=None)
    assert choose(bare, ["onnxruntime"]).reason == "it holds no ONNX"


def test_no_gpu_is_no_device():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("needs a machine without a GPU; this one has one")
    assert selection.capability_of(0) == ""
    assert selection.device_name() == "CPU"
