"""Mutated models and assets: an error, never a crash or a file outside. Seeded and bounded."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import helper, numpy_helper
from stock_models import MODELS

from tftrt_toolkit import ShapeRange, ToolkitOptions, migrate
from tftrt_toolkit.artifacts import OnnxModel, Plan, SegmentAsset, TensorSpec, TypedOnnx
from tftrt_toolkit.asset import write_asset

HERE = Path(__file__).resolve().parent


def small_asset(path):
    weight = np.arange(32, dtype=np.float32).reshape(4, 8)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x:0", "w"], ["y:0"])],
        "segment",
        [helper.make_tensor_value_info("x:0", onnx.TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y:0", onnx.TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = OnnxModel(helper.make_model(graph), {})
    plan = Plan("tensorrt_rtx", "1.7.1", ("8.9",), (), "FP32", "key", b"plan bytes", 10, 0.1)
    x = TensorSpec("x:0", tf.float32, tf.TensorShape([None, 4]))
    y = TensorSpec("y:0", tf.float32, tf.TensorShape([None, 8]))
    write_asset(path, SegmentAsset("s", (x,), (y,), TypedOnnx(model, "FP32"), (plan,)))


def small_model(path):
    shapes = {"x": ShapeRange((1, 4), (3, 4), (8, 4))}
    options = ToolkitOptions(input_shapes=shapes)
    migrate(MODELS / "unfrozen", path, minimum_segment_size=2, options=options)


@pytest.mark.parametrize(
    ("first", "seeds"), [(2000, 100), pytest.param(3000, 1000, marks=pytest.mark.slow)]
)
def test_mutated_models_and_assets_give_errors_and_no_crash(tmp_path, first, seeds):
    small_asset(tmp_path / "asset")
    small_model(tmp_path / "own")
    root = str(HERE.parents[1])
    result = subprocess.run(
        [sys.executable, str(HERE / "fuzz.py"), str(first), str(seeds), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    done = result.stdout.split()
    assert result.returncode == 0, f"seed {done[-1:]}: {result.stderr[-3000:]}"
    assert len(done) == 3 * seeds
    assert {path.name for path in tmp_path.iterdir()} == {"asset", "own"}
