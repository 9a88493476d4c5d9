"""Validation under TensorFlow 2.17, of plain models and of what its own converter wrote.

Without a GPU TensorFlow 2.17 can't run TRTEngineOp, so a converted model's native segments stand in
for its engines. All else, loading by directory, comparing and judging, is what a user gets.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tftrt_toolkit
from tftrt_toolkit import Gate, ValidationOptions
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError, ValidationError
from tftrt_toolkit.validation import models

ROOT = Path(__file__).resolve().parents[2]
INPUTS = [np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32) for seed in range(3)]
KEYS = ("serving_default",)


@pytest.fixture
def engines_run(monkeypatch, tmp_path_factory):
    """As if engines ran: what loads is the model restored, its second layer times `scale`."""
    load, state = models.load, {"scale": 1.0}

    def load_restored(directory, tags=("serve",)):
        if not list((directory / "assets").glob("trt-serialized-engine.*")):
            return load(directory, tags)
        plain = tmp_path_factory.mktemp("plain") / "model"
        tftrt_toolkit.restore_native(directory, plain)
        loaded = load(plain, tags)
        function = loaded.signatures["serving_default"]

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def scaled(x):
            return {name: value * state["scale"] for name, value in function(x=x).items()}

        loaded.kept = scaled.get_concrete_function()
        signatures = {**loaded.signatures, "serving_default": loaded.kept}
        return type("Loaded", (), {"signatures": signatures, "model": loaded})()

    monkeypatch.setattr(models, "load", load_restored)
    return state


def saved(model_dir, output, gate):
    from make_stock_models import stock_without_gpu

    with stock_without_gpu(with_engines=True):
        converter = tftrt_toolkit.TrtGraphConverterV2(model_dir, precision_mode="FP16")
        converter.convert()
        converter.save(str(output), validate=gate)
    return converter


def test_a_sound_conversion_passes_the_gate(with_tensorrt, engines_run, model_dir, tmp_path):
    converter = saved(model_dir, tmp_path / "out", Gate(input_fn=INPUTS))
    report = json.loads((tmp_path / "out/assets.extra/tftrt_report.json").read_text())
    assert report == json.loads(json.dumps(converter.report()))
    assert report["validation"]["passed"] is True
    assert report["validation"]["precision"] == "FP16"
    executed = report["validation"]["executed"]
    assert len(executed) == 2
    assert set(executed.values()) == {"TensorFlow's TensorRT"}
    assert {one["key"] for one in report["validation"]["signatures"]} == {*KEYS, "hidden"}


def test_a_conversion_that_misses_isnt_saved(with_tensorrt, engines_run, model_dir, tmp_path):
    engines_run["scale"] = 1.05
    with pytest.raises(ValidationError, match="not saved: FAIL") as error:
        saved(model_dir, tmp_path / "out", Gate(input_fn=INPUTS))
    assert "\n" not in str(error.value)
    assert "convert again" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_gate_takes_tolerances_and_refuses_what_stock_cannot(
    with_tensorrt, engines_run, model_dir, tmp_path
):
    with pytest.raises(InvalidArgumentError, match="demote"):
        saved(model_dir, tmp_path / "out", Gate(input_fn=INPUTS, demote=True))
    engines_run["scale"] = 1.05
    loose = ValidationOptions(tolerances={"*": {"min_snr_db": 20, "max_scaled": 0.1}})
    converter = saved(model_dir, tmp_path / "out", Gate(input_fn=INPUTS, options=loose))
    with pytest.raises(ConversionError, match="convert again"):
        converter.save(str(tmp_path / "again"))
    with pytest.raises(InvalidArgumentError, match=r"2\.18"):
        tftrt_toolkit.validate(
            model_dir, str(tmp_path / "out"), INPUTS, options=ValidationOptions(blame=True)
        )


def test_the_script_validates_each_model_in_its_process(model_dir, tmp_path):
    np.savez(tmp_path / "inputs.npz", x=INPUTS[0])
    command = [
        sys.executable, str(ROOT / "scripts" / "validate_saved_model.py"),
        f"--original_saved_model_dir={model_dir}", f"--converted_saved_model_dir={model_dir}",
        f"--inputs={tmp_path}", "--isolate", "--benchmark=3", f"--report={tmp_path / 'a.json'}",
    ]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("PASS")
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["versions"]["tensorflow"] == tf.__version__
    assert [one["runs"] for one in report["latency"]] == [3, 3]
