"""The toolkit's converter over TensorFlow's own."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.compiler.tensorrt import trt_convert
from tensorflow.python.framework import op_def_registry

import tftrt_toolkit
from tftrt_toolkit.compat import stock
from tftrt_toolkit.errors import (
    ConversionError,
    InvalidArgumentError,
    MissingDependencyError,
    OutputExistsError,
)

ROOT = Path(__file__).resolve().parents[2]
OPS = ROOT / "tests" / "runtime" / "golden" / "stock_ops_tf217.pbtxt"
MAKE_CONVERTER = "import tftrt_toolkit; tftrt_toolkit.TrtGraphConverterV2('model')"


def in_process(code, **variables):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"} | variables,
    )


def test_the_converter_is_the_stock_one():
    assert tftrt_toolkit.TrtGraphConverterV2 is stock.StockConverter


@pytest.mark.parametrize(
    "op", text_format.Parse(OPS.read_text(), op_def_pb2.OpList()).op, ids=lambda op: op.name
)
def test_the_golden_ops_are_this_registrys(op):
    assert op_def_registry.get(op.name) == op


def test_the_toolkits_own_ops_stay_away(tmp_path):
    """They would clash with TensorFlow's: nothing is compiled, so nothing is loaded."""
    code = "import tftrt_toolkit; tftrt_toolkit.enable_tensorflow_api()"
    result = in_process(code, TFTRT_TOOLKIT_CACHE_DIR=str(tmp_path / "cache"))
    assert result.returncode == 0, result.stderr[-1000:]
    assert not (tmp_path / "cache").exists()


def test_missing_tensorrt_is_an_error_and_no_abort():
    result = in_process(MAKE_CONVERTER)
    assert result.returncode == 1, result.stderr[-1000:]
    last = result.stderr.strip().splitlines()[-1]
    assert "MissingDependencyError" in last
    assert "needs TensorRT 8.6.1" in last
    assert "LD_LIBRARY_PATH" in last


@pytest.mark.parametrize(("number", "version"), [(100300, "10.3.0"), (8503, "8.5.3")])
def test_another_tensorrt_is_an_error_and_no_abort(tmp_path, number, version):
    source = tmp_path / "stub.c"
    source.write_text(f"int getInferLibVersion(void) {{ return {number}; }}\n")
    for name in ("libnvinfer.so.8.6.1", "libnvinfer_plugin.so.8.6.1"):
        command = ["gcc", "-shared", "-fPIC", "-o", str(tmp_path / name), str(source)]
        subprocess.run(command, check=True)
    result = in_process(MAKE_CONVERTER, LD_LIBRARY_PATH=str(tmp_path))
    assert result.returncode == 1, result.stderr[-1000:]
    last = result.stderr.strip().splitlines()[-1]
    assert "MissingDependencyError" in last
    assert f"is TensorRT {version}" in last


def test_arguments_are_the_stock_ones():
    theirs = inspect.signature(trt_convert.TrtGraphConverterV2.__init__).parameters
    ours = inspect.signature(stock.StockConverter.__init__).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        # TensorFlow chooses less where it finds no TensorRT when it is imported.
        if name != "max_workspace_size_bytes":
            assert ours[name].default == parameter.default, name


def test_arguments_reach_the_stock_class(monkeypatch, with_tensorrt):
    signature = inspect.signature(trt_convert.TrtGraphConverterV2)
    given = {}

    def record(*args, **keywords):
        given.update(signature.bind(*args, **keywords).arguments)

    monkeypatch.setattr(trt_convert, "TrtGraphConverterV2", record)
    wanted = {
        "input_saved_model_dir": "model",
        "input_saved_model_tags": ["serve", "gpu"],
        "input_saved_model_signature_key": "other",
        "use_dynamic_shape": True,
        "dynamic_shape_profile_strategy": "Optimal",
        "max_workspace_size_bytes": 1 << 20,
        "precision_mode": "FP16",
        "minimum_segment_size": 5,
        "maximum_cached_engines": 7,
        "use_calibration": False,
        "allow_build_at_runtime": False,
    }
    stock.StockConverter(**wanted, backend="stock")
    assert given == wanted
    params = trt_convert.TrtConversionParams(precision_mode="INT8", maximum_cached_engines=3)
    stock.StockConverter("model", conversion_params=params)
    assert given["precision_mode"] == "INT8"
    assert given["maximum_cached_engines"] == 3


def test_what_stock_cannot_do_is_refused(with_tensorrt):
    for keywords in (
        {"precision_mode": "FP8"},
        {"options": tftrt_toolkit.ToolkitOptions(native_ops=["Relu"])},
        {"backend": "toolkit"},
        {"dynamic_shape_profile_strategy": "Widest"},
    ):
        with pytest.raises(InvalidArgumentError):
            stock.StockConverter("model", **keywords)


def test_no_gpu_is_an_error(monkeypatch, model_dir):
    from make_stock_models import stock_without_gpu

    monkeypatch.setattr(stock, "require_tensorrt", lambda linked: linked)
    with stock_without_gpu(with_engines=True):
        converter = stock.StockConverter(model_dir)
        with pytest.raises(MissingDependencyError, match="needs a GPU"):
            converter.convert()


def test_a_conversion_keeps_signatures_and_reports(with_tensorrt, model_dir, tmp_path):
    from make_stock_models import example, stock_without_gpu

    output = tmp_path / "out"
    with stock_without_gpu(with_engines=True):
        converter = stock.StockConverter(model_dir)
        converter.convert()
        converter.save(str(output))
        with pytest.raises(ConversionError, match="once"):
            converter.save(str(tmp_path / "again"))
    report = json.loads((output / "assets.extra" / "tftrt_report.json").read_text())
    assert report == json.loads(json.dumps(converter.report()))
    assert [len(report["segments"]), report["signatures"]] == [2, ["serving_default"]]
    assert sorted(path.name for path in (output / "assets").iterdir()) == [
        "trt-serialized-engine.TRTEngineOp_000_000",
        "trt-serialized-engine.TRTEngineOp_000_001",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    plain = tmp_path / "plain"
    tftrt_toolkit.restore_native(output, plain)
    before, after = (tf.saved_model.load(str(one)).signatures for one in (model_dir, plain))
    assert set(after) == {"serving_default", "hidden"}
    for key in after:
        for name, value in before[key](x=tf.constant(example())).items():
            result = after[key](x=tf.constant(example()))[name]
            np.testing.assert_allclose(result, value, rtol=1e-6, atol=1e-7)


def test_an_existing_model_is_kept(with_tensorrt, model_dir, tmp_path):
    from make_stock_models import stock_without_gpu

    (tmp_path / "precious").touch()
    with stock_without_gpu(with_engines=True):
        converter = stock.StockConverter(model_dir)
        converter.convert()
        with pytest.raises(OutputExistsError):
            converter.save(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_the_api_stays_tensorflows():
    before = tf.experimental.tensorrt.Converter
    tftrt_toolkit.enable_tensorflow_api()
    assert tf.experimental.tensorrt.Converter is before
