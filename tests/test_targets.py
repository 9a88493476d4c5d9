import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.cli.processes import run, script
from tests.digits import MODEL, save_several_engines
from tftrt_toolkit import ShapeRange, runtime, targets
from tftrt_toolkit.artifacts import SegmentAsset, ShapeProfile
from tftrt_toolkit.asset import AssetFile, write_asset
from tftrt_toolkit.engine import BuildConfig
from tftrt_toolkit.errors import InvalidArgumentError, ModelError
from tftrt_toolkit.inspection import engine_assets
from tftrt_toolkit.targets import add_plans

pytest.importorskip("tensorrt_rtx")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return save_several_engines(tmp_path_factory.mktemp("targets") / "converted")


@pytest.fixture
def model(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "model"))


def config(*capabilities):
    return BuildConfig(flavour="tensorrt_rtx", compute_capabilities=capabilities)


def bytes_of(model):
    return {path.name: path.read_bytes() for path in engine_assets(model)}


def test_each_segment_gets_a_plan_of_the_same_profiles_and_the_model_still_runs(model):
    image = np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 8, 8, 1)
    expected = tf.saved_model.load(str(MODEL)).signatures["serving_default"](image=image)
    added = add_plans(model, config("8.6"))
    assets = [AssetFile.open(path) for path in engine_assets(model)]
    assert len(assets) > 1
    assert added.keys() == {asset.segment for asset in assets}
    for asset in assets:
        old, new = asset.plans
        assert (old.targets, new.targets) == (("8.9",), ("8.6",))
        assert old.profiles == new.profiles
        assert old.profiles
        assert bytes(asset.read_plan(new)) == added[asset.segment][0].data
    found = tf.saved_model.load(str(model)).signatures["serving_default"](image=image)
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-4, atol=1e-4)


def test_an_engine_for_the_shapes_of_a_call(model, monkeypatch):
    asset = AssetFile.open(engine_assets(model)[0])
    exact = {spec.name: (3, *spec.shape[1:]) for spec in asset.inputs}
    profile = ShapeProfile({name: ShapeRange(one, one, one) for name, one in exact.items()})
    assert not targets.can_build_here()
    monkeypatch.setattr(runtime, "gpu_capabilities", lambda: ("8.9",))
    assert targets.can_build_here()
    [plan] = targets.build_for_shapes(asset, profile)
    assert (plan.targets, plan.profiles) == (("8.9",), (profile,))
    monkeypatch.setattr(runtime, "gpu_capabilities", lambda: ("9.0",))  # TensorRT-RTX refuses it
    assert not targets.can_build_here()


def test_the_same_target_again_replaces_its_plan(model):
    add_plans(model, config("8.9"))
    for path in engine_assets(model):
        (plan,) = AssetFile.open(path).plans
        assert plan.targets == ("8.9",)


def test_an_unknown_target_leaves_the_model_as_it_was(model):
    before = bytes_of(model)
    with pytest.raises(InvalidArgumentError, match=r"1\.0"):
        add_plans(model, config("1.0"))
    assert bytes_of(model) == before


def test_a_segment_without_shapes_is_refused_before_any_build(model):
    last = engine_assets(model)[-1]
    asset = AssetFile.open(last)
    write_asset(
        last, SegmentAsset(asset.segment, asset.inputs, asset.outputs, asset.load_onnx(), ())
    )
    before = bytes_of(model)
    with pytest.raises(ModelError, match="no plan to take shapes from"):
        add_plans(model, config("8.6"))
    assert bytes_of(model) == before


@pytest.mark.parametrize(
    ("converted", "code", "message"), [(True, 0, "saved "), (False, 1, "error: ")]
)
def test_the_command(model, converted, code, message):
    result = run(
        script("build_engines"),
        f"--saved_model_dir={model if converted else MODEL}",
        "--engine=tensorrt_rtx",
        "--compute_capabilities=12.0",
    )
    assert result.returncode == code, result.stderr
    assert result.last_line.startswith(message)
    assert ("for 12.0" in result.stdout) == converted
