"""Builds with TensorRT-RTX, which needs no GPU, and what it refuses."""

import dataclasses
import tempfile

import numpy as np
import pytest

from tests.onnx_text import model, typed
from tftrt_toolkit import trt
from tftrt_toolkit.artifacts import ShapeProfile, ShapeRange, TypedOnnx
from tftrt_toolkit.engine import BuildConfig, available_builder, build_plans
from tftrt_toolkit.engine import build as build_module
from tftrt_toolkit.errors import EngineBuildError, InvalidArgumentError, MissingDependencyError
from tftrt_toolkit.trt import TensorRT, Unavailable

RTX = BuildConfig(flavour="tensorrt_rtx")
pytestmark = pytest.mark.skipif(
    isinstance(trt.find("tensorrt_rtx"), Unavailable), reason="tensorrt_rtx isn't installed"
)

DENSE = "dense (float[n, 64] x) => (float[n, 32] y) { m = MatMul(x, w)  y = Relu(m) }"
WEIGHTS = {"w": np.linspace(-1, 1, 64 * 32, dtype=np.float32).reshape(64, 32)}


def ranges(low, best, high):
    return ShapeRange(tuple(low), tuple(best), tuple(high))


BATCHES = ShapeProfile({"x": ranges((1, 64), (4, 64), (8, 64))})


def test_a_plan_tells_what_it_is():
    config = dataclasses.replace(RTX, compute_capabilities=("8.6", "12.0"))
    (plan,) = build_plans(typed(DENSE, WEIGHTS), "seg", [BATCHES], config)
    assert plan.flavour == "tensorrt_rtx"
    assert plan.version == trt.find("tensorrt_rtx").version
    assert plan.targets == ("8.6", "12.0")
    assert plan.profiles == (BATCHES,)
    assert isinstance(plan.data, bytes)
    assert len(plan.data) == plan.size > WEIGHTS["w"].nbytes
    assert plan.seconds > 0


def test_the_default_targets_are_named():
    (plan,) = build_plans(typed(DENSE, WEIGHTS), "seg", [BATCHES], RTX)
    assert set(plan.targets) >= {"8.0", "8.6", "8.9", "12.0"}
    assert "7.5" not in plan.targets


def test_static_mode_builds_an_engine_for_each_profile():
    shapes = [ShapeProfile({"x": ranges((n, 64), (n, 64), (n, 64))}) for n in (1, 4)]
    config = dataclasses.replace(RTX, engine_per_profile=True)
    plans = build_plans(typed(DENSE, WEIGHTS), "seg", shapes, config)
    assert [plan.profiles for plan in plans] == [(shapes[0],), (shapes[1],)]
    assert plans[0].source_key != plans[1].source_key
    (both,) = build_plans(typed(DENSE, WEIGHTS), "seg", shapes, RTX)
    assert both.profiles == tuple(shapes)


def test_fixed_shapes_need_no_profile():
    text = DENSE.replace("[n, ", "[4, ")
    (plan,) = build_plans(typed(text, WEIGHTS), "seg", [], RTX)
    assert plan.profiles == ()


def test_shape_tensors_take_values():
    text = RESHAPE
    shapes = {"x": ranges((1, 4), (2, 4), (4, 4)), "s": ranges((2,), (2,), (2,))}
    profile = ShapeProfile(shapes, {"s": ranges((2, 2), (4, 2), (8, 2))})
    (plan,) = build_plans(typed(text), "seg", [profile], RTX)
    assert plan.size > 0
    with pytest.raises(InvalidArgumentError, match="no values of 's'"):
        build_plans(typed(text), "seg", [ShapeProfile(shapes)], RTX)
    backwards = ShapeProfile(shapes, {"s": ranges((8, 2), (4, 2), (2, 2))})
    with pytest.raises(InvalidArgumentError, match="'s' need min <= opt <= max"):
        build_plans(typed(text), "seg", [backwards], RTX)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, "no shape of 'x'"),
        ({"z": ranges((1, 64), (4, 64), (8, 64))}, "names z, but the inputs are x"),
        ({"x": ranges((1,), (4,), (8,))}, "don't fit its shape"),
        ({"x": ranges((1, 32), (4, 32), (8, 32))}, "don't fit its shape"),
        ({"x": ranges((8, 64), (4, 64), (1, 64))}, "0 <= min <= opt <= max"),
    ],
)
def test_profiles_that_do_not_fit(shapes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        build_plans(typed(DENSE, WEIGHTS), "seg", [ShapeProfile(shapes)], RTX)


def test_a_dynamic_input_without_any_profile():
    with pytest.raises(InvalidArgumentError, match="need a profile: x"):
        build_plans(typed(DENSE, WEIGHTS), "seg", [], RTX)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("g (float[4, 4] x) => (float[4, 4] y) { r = Relu(x)  y = Foo(r) }", "foo_1"),
        ("g (float[4, 4] x) => (int64[2, k] y) { r = Relu(x)  y = NonZero(r) }", "nonzero_1"),
        (
            "g (float[4, 4] x) => (float[4, 4] y) { h = Cast<to = 10>(x)  y = Add(x, h) }",
            "add_1",
        ),
    ],
)
def test_the_parser_names_the_node_it_refuses(text, node):
    with pytest.raises(EngineBuildError, match="parser refuses") as caught:
        build_plans(typed(text), "seg", [], RTX)
    assert caught.value.nodes == (node,)
    assert "\n" not in str(caught.value)


RESHAPE = "g (float[n, 4] x, int64[2] s) => (float[a, b] y) { y = Reshape(x, s) }"
IMPOSSIBLE = ShapeProfile(
    {"x": ranges((1, 4), (2, 4), (4, 4)), "s": ranges((2,), (2,), (2,))},
    {"s": ranges((5, 5), (5, 5), (5, 5))},
)


def test_the_builder_names_the_node_it_refuses():
    with pytest.raises(EngineBuildError, match=r"builder refuses.*reshape") as caught:
        build_plans(typed(RESHAPE), "seg", [IMPOSSIBLE], RTX)
    assert caught.value.nodes == ("reshape_0",)


@pytest.mark.parametrize("element", ["double", "int16", "uint32"])
def test_border_types_that_tensorrt_would_change(element):
    text = f"g ({element}[4, 4] x) => ({element}[4, 4] y) {{ y = Add(x, x) }}"
    with pytest.raises(EngineBuildError, match=r"as (DOUBLE|INT16|UINT32)|refuses"):
        build_plans(typed(text), "seg", [], RTX)


def test_a_weight_of_the_wrong_size():
    wrong = model(DENSE, WEIGHTS)
    wrong = dataclasses.replace(wrong, weights={"w": np.zeros((3, 3), np.float32)})
    with pytest.raises(EngineBuildError, match="doesn't take weight 'w'"):
        build_plans(TypedOnnx(wrong, "FP32"), "seg", [BATCHES], RTX)


def test_without_weights_in_memory_the_parser_reads_a_file(monkeypatch):
    monkeypatch.setattr(TensorRT, "parser_takes_weights", False)
    (plan,) = build_plans(typed(DENSE, WEIGHTS), "seg", [BATCHES], RTX)
    assert plan.size > WEIGHTS["w"].nbytes
    with pytest.raises(EngineBuildError) as caught:
        build_plans(typed("g (float[4] x) => (float[4] y) { y = Foo(x) }"), "seg", [], RTX)
    assert caught.value.nodes == ("foo_0",)


def test_large_plans_go_to_a_file_as_they_are_built():
    config = dataclasses.replace(RTX, stream_bytes=100)
    (plan,) = build_plans(typed(DENSE, WEIGHTS), "seg", [BATCHES], config)
    assert plan.data.stat().st_size == plan.size > WEIGHTS["w"].nbytes


def test_a_refused_build_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = RESHAPE.replace("y = Reshape(x, s)", "m = MatMul(x, w)  y = Reshape(m, s)")
    config = dataclasses.replace(RTX, stream_bytes=0)
    with pytest.raises(EngineBuildError, match="builder refuses"):
        build_plans(typed(text, {"w": np.eye(4, dtype=np.float32)}), "seg", [IMPOSSIBLE], config)
    assert not list(tmp_path.iterdir())


def test_the_cache_is_used_and_checked(tmp_path, caplog):
    config = dataclasses.replace(RTX, cache_dir=tmp_path / "cache")
    (first,) = build_plans(typed(DENSE, WEIGHTS), "seg", [BATCHES], config)
    (second,) = build_plans(typed(DENSE, WEIGHTS), "other", [BATCHES], config)
    assert second.seconds == 0.0
    assert second.data.read_bytes() == first.data
    second.data.write_bytes(b"damaged")
    (third,) = build_plans(typed(DENSE, WEIGHTS), "seg", [BATCHES], config)
    assert third.seconds > 0
    assert "damaged: it is built again" in caplog.text
    (fourth,) = build_plans(typed(DENSE, WEIGHTS), "seg", [BATCHES], config)
    assert fourth.seconds == 0.0


def test_progress_is_reported_and_can_cancel():
    phases = {}

    def progress(phase, done, total):
        assert 0 <= done <= total
        phases[phase] = (done, total)

    build_plans(typed(DENSE, WEIGHTS), "seg", [BATCHES], RTX, progress)
    assert phases["Building engine"][0] == phases["Building engine"][1]

    def stop(phase, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plans(typed(DENSE, WEIGHTS), "seg", [BATCHES], RTX, stop)


def test_settings_reach_the_builder():
    config = dataclasses.replace(
        RTX,
        workspace_bytes=1 << 20,
        optimization_level=1,
        sparse_weights=True,
        tf32=False,
        compute_capabilities=("8.9", "12.0"),
    )
    builder = available_builder(config)
    module = builder.tensorrt.module
    settings = build_module._settings(builder, module.Builder(builder.tensorrt.logger), config)
    assert settings.get_memory_pool_limit(module.MemoryPoolType.WORKSPACE) == 1 << 20
    assert settings.builder_optimization_level == 1
    assert settings.get_flag(module.BuilderFlag.SPARSE_WEIGHTS)
    assert not settings.get_flag(module.BuilderFlag.TF32)
    assert [settings.get_compute_capability(index).name for index in (0, 1)] == ["SM89", "SM120"]


def test_unknown_compute_capability():
    config = dataclasses.replace(RTX, compute_capabilities=("8.9", "1.0"))
    with pytest.raises(InvalidArgumentError, match=r"compute capability 1\.0 here: it builds for"):
        available_builder(config)


def test_no_builder(monkeypatch):
    monkeypatch.setattr(trt, "find", lambda flavour: Unavailable("there is none"))
    assert available_builder(RTX) == Unavailable("there is none")
    with pytest.raises(MissingDependencyError, match="no engine can be built: there is none"):
        build_plans(typed(DENSE, WEIGHTS), "seg", [BATCHES], RTX)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flavour": "cuda"}, "flavour='cuda' is not known"),
        ({"workspace_bytes": 0}, "must be positive"),
        ({"optimization_level": 6}, "from 0 to 5"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        BuildConfig(**changes)
