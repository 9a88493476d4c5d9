"""Engines from ONNX files that TensorFlow had no part in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import onnx_text
from tftrt_toolkit import ShapeRange, onnx_model
from tftrt_toolkit.engine import BuildConfig
from tftrt_toolkit.errors import (
    EngineBuildError,
    InvalidArgumentError,
    ModelError,
    OutputExistsError,
)
from tftrt_toolkit.onnx_engines import build_onnx

pytest.importorskip("tensorrt_rtx")
ROOT = Path(__file__).resolve().parents[1]
CONFIG = BuildConfig(flavour="tensorrt_rtx", compute_capabilities=("8.6",))
RNG = np.random.default_rng(0)
WEIGHTS = {
    "w1": RNG.normal(size=(64, 128)).astype(np.float32),
    "w2": RNG.normal(size=(128, 32)).astype(np.float32),
}
TEXT = """network (float[N, 64] x) => (float[N, 32] y) {
    a = MatMul(x, w1)
    b = Relu(a)
    y = MatMul(b, w2)
}"""
SHAPES = {"x": ShapeRange((1, 64), (4, 64), (16, 64))}


@pytest.fixture(scope="module", params=["inside", "beside"])
def file(request, tmp_path_factory):
    """The model with its weights in the file or beside it; nodes without names."""
    directory = tmp_path_factory.mktemp("onnx")
    model = onnx_text.model(TEXT, WEIGHTS, names=False)
    if request.param == "inside":
        path = directory / "network.onnx"
        onnx.save(onnx_model.to_proto(model), path)
        return path
    return onnx_model.save(model, directory, "network.onnx")


@pytest.mark.parametrize("precision", ["FP32", "FP16", "INT8"])
def test_plans_and_the_typed_onnx_are_written(file, precision, tmp_path):
    data = [RNG.normal(size=(8, 64)).astype(np.float32) for _ in range(2)]
    found = build_onnx(
        file,
        tmp_path / "out",
        precision_mode=precision,
        input_shapes=SHAPES,
        calibration_data=data if precision == "INT8" else None,
        config=CONFIG,
    )
    ((name, plan),) = found.plans.items()
    assert name == f"tensorrt_rtx-{plan.version}-8.6.plan"
    assert (tmp_path / "out" / name).stat().st_size == plan.size
    assert plan.precision == precision
    low, high = {"FP32": (-1, 1e-6), "FP16": (1e-5, 1e-2), "INT8": (1e-3, 0.1)}[precision]
    assert low < found.relative_error < high
    typed = onnx.load(tmp_path / "out" / "model.onnx")
    onnx.checker.check_model(typed)
    ops = {node.op_type for node in typed.graph.node}
    assert ("QuantizeLinear" in ops) == (precision == "INT8")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["plans"][name]["bytes"] == plan.size
    with pytest.raises(OutputExistsError):
        build_onnx(file, tmp_path / "out", input_shapes=SHAPES, config=CONFIG)


def test_local_functions_and_initializers_among_the_inputs(tmp_path):
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "own": 1]>
        network (float[2, 3] x, float[3] bias) => (float[2, 3] y) <float[3] bias = {1, 2, 3}> {
            y = own.Shifted(x, bias)
        }
        <domain: "own", opset_import: ["": 17]> Shifted (a, b) => (c) { d = Relu(a) c = Add(d, b) }
    """)
    onnx.save(proto, tmp_path / "network.onnx")
    model = onnx_model.load(tmp_path / "network.onnx")
    assert [value.name for value in model.proto.graph.input] == ["x"]
    assert [node.op_type for node in model.proto.graph.node] == ["Relu", "Add"]
    assert build_onnx(tmp_path / "network.onnx", tmp_path / "out", config=CONFIG).plans


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InvalidArgumentError, "the shapes of x aren't fixed"),
        ({"input_shapes": {"z": SHAPES["x"]}}, InvalidArgumentError, "names 'z'"),
        (
            {"input_shapes": SHAPES, "precision_mode": "INT8"},
            InvalidArgumentError,
            "INT8 needs calibration_data",
        ),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_left(tmp_path, arguments, error, message):
    path = onnx_model.save(onnx_text.model(TEXT, WEIGHTS), tmp_path / "in")
    with pytest.raises(error, match=message):
        build_onnx(path, tmp_path / "out", config=CONFIG, **arguments)
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_model_or_that_tensorrt_refuses(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("text.onnx", "missing.onnx"):
        with pytest.raises(ModelError, match="can't be read as an ONNX model"):
            build_onnx(tmp_path / name, tmp_path / "out", config=CONFIG)
    path = onnx_model.save(
        onnx_text.model("n (float[2] x) => (double[2] y) { y = Cast <to = 11> (x) }"),
        tmp_path / "double",
    )
    with pytest.raises(EngineBuildError, match="'y' as DOUBLE"):
        build_onnx(path, tmp_path / "out", config=CONFIG)


def test_the_command(tmp_path):
    file = onnx_model.save(onnx_text.model(TEXT, WEIGHTS), tmp_path / "in")
    np.savez(tmp_path / "batch.npz", x=RNG.normal(size=(8, 64)).astype(np.float32))
    result = subprocess.run(
        [
            sys.executable,
            str(ROOT / "scripts" / "build_engines.py"),
            f"--onnx={file}",
            f"--output_dir={tmp_path / 'out'}",
            "--precision_mode=INT8",
            f"--calibration_inputs={tmp_path}",
            "--input_shapes=x:1x64:4x64:16x64",
            "--compute_capabilities=8.6",
            "--engine=tensorrt_rtx",
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "-8.6.plan: tensorrt_rtx" in result.stdout
    assert "relative error of INT8" in result.stdout
    assert list((tmp_path / "out").glob("*.plan"))
