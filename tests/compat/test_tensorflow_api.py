import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from stock_models import meta_graph_of, ops_of

import tftrt_toolkit
from tftrt_toolkit.errors import ConversionError

ROOT = Path(__file__).resolve().parents[2]
MODEL = str(ROOT / "saved_models" / "digits_cnn")


@pytest.fixture(scope="module")
def trt_convert():
    # Bound before the API is enabled, as in a script whose imports come first.
    from tensorflow.python.compiler.tensorrt import trt_convert as module

    tftrt_toolkit.enable_tensorflow_api()
    tftrt_toolkit.enable_tensorflow_api()
    return module


def test_an_old_script_runs(trt_convert, tmp_path):
    params = trt_convert.DEFAULT_TRT_CONVERSION_PARAMS._replace(
        precision_mode=trt_convert.TrtPrecisionMode.FP32, maximum_cached_engines=2
    )
    converter = trt_convert.TrtGraphConverterV2(
        input_saved_model_dir=MODEL, use_dynamic_shape=True, conversion_params=params
    )
    converter.convert()
    (tmp_path / "saved_model.pb").write_bytes(b"an older one")
    converter.save(str(tmp_path))  # stock TF-TRT writes over it
    assert "TRTEngineOp" in ops_of(meta_graph_of(tmp_path))
    image = tf.constant(np.zeros((2, 8, 8, 1), np.float32))
    results = [
        tf.saved_model.load(directory).signatures["serving_default"](image)
        for directory in (MODEL, str(tmp_path))
    ]
    for name, value in results[0].items():
        np.testing.assert_allclose(results[1][name], value, rtol=1e-4, atol=1e-5)


def test_public_names_are_the_toolkits(trt_convert):
    public = tf.experimental.tensorrt
    assert public.Converter is trt_convert.TrtGraphConverterV2
    assert issubclass(public.Converter, tftrt_toolkit.TrtGraphConverterV2)
    assert public.ConversionParams is tftrt_toolkit.TrtConversionParams
    assert public.ConversionParams(precision_mode="FP16").minimum_segment_size == 3


def test_save_keeps_the_stock_arguments_order(trt_convert):
    names = list(inspect.signature(trt_convert.TrtGraphConverterV2.save).parameters)
    assert names[1:4] == ["output_saved_model_dir", "save_gpu_specific_engines", "options"]


@pytest.mark.parametrize("name", ["TrtGraphConverter", "create_inference_graph"])
def test_tensorflow_1_names_say_what_to_use(trt_convert, name):
    with pytest.raises(ConversionError, match="use TrtGraphConverterV2") as raised:
        getattr(trt_convert, name)(None, ["logits"], max_batch_size=1)
    assert "\n" not in str(raised.value)


def test_supported_strategies(trt_convert):
    assert "Range+Optimal" in trt_convert.supported_profile_strategies()


def test_saved_model_cli_converts(tmp_path):
    result = subprocess.run(
        [
            sys.executable, "-m", "tftrt_toolkit.compat.saved_model_cli", "convert",
            "--dir", MODEL, "--output_dir", str(tmp_path / "out"), "--tag_set", "serve",
            "tensorrt", "--precision_mode", "FP32", "--minimum_segment_size", "3",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert "TRTEngineOp" in ops_of(meta_graph_of(tmp_path / "out"))
