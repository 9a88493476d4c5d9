import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import ToolkitOptions, TrtGraphConverterV2, runtime, tuning
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import InputError, ModelError
from tftrt_toolkit.inspection import engine_assets
from tftrt_toolkit.manifest import TunedExecutor

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "saved_models" / "digits_cnn"
SHAPES = [(2, 8, 8, 1), (5, 8, 8, 1)]


def batches():
    for shape in (SHAPES[0], SHAPES[1], SHAPES[0]):
        yield {"image": np.random.default_rng(shape[0]).random(shape, np.float32)}


@pytest.fixture(scope="module")
def converter():
    converter = TrtGraphConverterV2(
        str(MODEL), use_dynamic_shape=True, options=ToolkitOptions(native_ops=["MaxPool"])
    )
    converter.convert()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning.runtime, "tune", seeming_tune)
        converter.build(batches, tune=True)
    return converter


def seeming_tune(run, assets, executors):
    """XLA wins on the small batch, ONNX Runtime on the greater one; a plan would once."""
    run()
    seen = {}
    with runtime.observe({one: lambda i, _, one=one: seen.update({one: i}) for one in assets}):
        run()
    return {
        resource: TunedExecutor(
            "CPU",
            {spec.name: one.shape for spec, one in zip(asset.inputs, seen[resource], strict=True)},
            "xla" if seen[resource][0].shape[0] == 2 else "onnxruntime",
            {},
        )
        for resource, asset in assets.items()
    }


@pytest.fixture
def saved(converter, tmp_path):
    converter.save(str(tmp_path / "model"))
    return tmp_path / "model"


def test_build_tunes_once_a_shape_and_saves_the_winners(converter, saved):
    assets = [AssetFile.open(path) for path in engine_assets(saved)]
    assert len(assets) > 1
    for asset in assets:
        assert [one.executor for one in asset.manifest.tuned] == ["xla", "onnxruntime"]
    assert [len(one["tuned"]) for one in converter.report()["segments"]] == [2] * len(assets)


def stats(resources):
    return [one for one in runtime.runtime_stats() if one.resource in resources]


def test_a_tuned_model_runs_by_the_winners_wherever_it_is_loaded(saved):
    expected = tf.saved_model.load(str(MODEL)).signatures["serving_default"]
    loaded = tf.saved_model.load(str(saved)).signatures["serving_default"]
    resources = {one for one, path in runtime.loaded_assets().items() if saved in path.parents}
    before = stats(resources)
    for batch in batches():
        for name, value in expected(**batch).items():
            np.testing.assert_allclose(loaded(**batch)[name], value, rtol=1e-4, atol=1e-5)
    after = stats(resources)
    assert {one.executor for one in after} == {"tuned: xla, onnxruntime"}
    assert all(one.calls > earlier.calls for one, earlier in zip(after, before, strict=True))
    assert [one.native_calls for one in after] == [one.native_calls for one in before]


def test_a_model_without_plans_keeps_what_runs_without_them(converter, tmp_path):
    [engine, *_] = converter._conversion.engines.engines
    before = engine.tuned
    engine.tuned = (*before, TunedExecutor("NVIDIA L4", {}, "tensorrt", {}))
    try:
        converter.save(str(tmp_path / "model"), save_gpu_specific_engines=False)
    finally:
        engine.tuned = before
    asset = AssetFile.open(engine_assets(tmp_path / "model")[0])
    assert [one.executor for one in asset.manifest.tuned] == ["xla", "onnxruntime"]


def test_the_command_tunes_a_model_in_place(saved):
    done = subprocess.run(
        [
            sys.executable, "scripts/tune_model.py", f"--saved_model_dir={saved}",
            "--batch_sizes=5,7", "--executors=native,onnxruntime",
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for asset in map(AssetFile.open, engine_assets(saved)):
        rows = [one.shapes[asset.inputs[0].name][0] for one in asset.manifest.tuned]
        assert rows == [2, 5, 7]  # the first is the conversion's
        found = {frozenset(one.seconds) for one in asset.manifest.tuned[1:]}
        assert found == {frozenset({"native", "onnxruntime"})}
    assert len(done.stdout.splitlines()) == 2 * len(engine_assets(saved))


def test_what_cannot_be_tuned_is_refused(saved):
    with pytest.raises(ModelError, match="has no signature 'train': it has serving_default"):
        tuning.tune_model(saved, lambda specs: batches(), signature_key="train")
    with pytest.raises(InputError, match="yields no batch"):
        tuning.tune_model(saved, lambda specs: [])
    with pytest.raises(ModelError, match="has no engines"):
        tuning.tune_model(MODEL, lambda specs: batches())
