"""The stock contract: states, errors, names, and what comes out."""

import gc
import json

import numpy as np
import pytest
import tensorflow as tf

import tftrt_toolkit
from tftrt_toolkit import ShapeRange, ToolkitOptions, TrtConversionParams, TrtGraphConverterV2
from tftrt_toolkit.errors import (
    ConversionError,
    InvalidArgumentError,
    ModelError,
    OutputExistsError,
)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A small CNN with a second signature and a node that no engine runs."""

    class Model(tf.Module):
        def __init__(self):
            generator = tf.random.Generator.from_seed(1)
            self.kernel = tf.Variable(generator.normal([3, 3, 3, 8]), name="kernel")
            self.dense = tf.Variable(generator.normal([8 * 8 * 8, 80]), name="dense")

        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32, name="image")])
        def serve(self, image):
            features = tf.nn.relu(tf.nn.conv2d(image, self.kernel, 1, "SAME") + 0.5)
            flat = tf.reshape(features, [-1, 8 * 8 * 8])
            return {"scores": tf.nn.softmax(flat @ self.dense), "features": features}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def lengths(self, text):
            return {"length": tf.strings.length(text)}

    model = Model()
    directory = str(tmp_path_factory.mktemp("models") / "cnn")
    tf.saved_model.save(
        model, directory, signatures={"serving_default": model.serve, "lengths": model.lengths}
    )
    return directory


def converter(directory, **keywords):
    options = {"input_shapes": {"image": ShapeRange((1, 8, 8, 3), (2, 8, 8, 3), (4, 8, 8, 3))}}
    options |= keywords.pop("options", {})
    return TrtGraphConverterV2(
        directory,
        options=ToolkitOptions(compute_capabilities=("8.6",), **options),
        **{"use_dynamic_shape": True} | keywords,
    )


IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def converted(model_dir):
    made = converter(model_dir, precision_mode="fp16")
    function = made.convert()
    return made, function


def test_the_function_gives_what_the_original_gives(model_dir, converted):
    original = tf.saved_model.load(model_dir).signatures["serving_default"](image=IMAGES)
    found = converted[1](image=tf.constant(IMAGES))
    assert set(found) == {"scores", "features"}
    for name, expected in original.items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-5)


def test_save_reload_keeps_all_signatures(model_dir, converted, tmp_path):
    target = tmp_path / "converted"
    converted[0].save(str(target))
    loaded = tf.saved_model.load(str(target))
    original = tf.saved_model.load(model_dir)
    assert set(loaded.signatures) == set(original.signatures)
    for key in original.signatures:
        old, new = original.signatures[key], loaded.signatures[key]
        assert new.structured_input_signature == old.structured_input_signature
        assert {n: (s.dtype, s.shape.as_list()) for n, s in new.structured_outputs.items()} == {
            n: (s.dtype, s.shape.as_list()) for n, s in old.structured_outputs.items()
        }
    expected = original.signatures["serving_default"](image=IMAGES)
    found = loaded.signatures["serving_default"](image=IMAGES)
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=0, atol=1e-5)
    assert loaded.signatures["lengths"](text=["abc"])["length"].numpy() == [3]
    report = json.loads((target / "assets.extra" / "tftrt_report.json").read_text())
    assert report["segments"][0]["name"].endswith("TRTEngineOp_000_000")
    assert (target / "assets" / "trt-serialized-engine.TRTEngineOp_000_000").is_file()


def test_the_report_has_its_keys_and_a_real_plan(converted):
    report = converted[0].report()
    assert {
        "versions", "params", "segments", "refused", "dropped", "converted_node_fraction",
        "seconds", "peak_rss_bytes",
    } <= set(report)  # fmt: skip
    (segment,) = report["segments"]
    (plan,) = segment["plans"]
    assert plan["flavour"] == "tensorrt_rtx"
    assert plan["targets"] == ["8.6"]
    assert plan["bytes"] > 0
    assert segment["op_counts"]["Conv2D"] == 1
    assert report["converted_node_fraction"] == 1.0
    json.dumps(report)


def test_save_refuses_to_overwrite_and_saves_twice(converted, tmp_path):
    target = tmp_path / "twice"
    converted[0].save(str(target))
    with pytest.raises(OutputExistsError, match="overwrite"):
        converted[0].save(str(target))
    before = (target / "assets" / "trt-serialized-engine.TRTEngineOp_000_000").read_bytes()
    converted[0].save(str(target), overwrite=True)
    assert (target / "assets" / "trt-serialized-engine.TRTEngineOp_000_000").read_bytes() == before


def test_without_gpu_specific_engines_there_is_no_plan(converted, tmp_path):
    from tftrt_toolkit.asset import AssetFile

    converted[0].save(str(tmp_path / "portable"), save_gpu_specific_engines=False)
    path = tmp_path / "portable" / "assets" / "trt-serialized-engine.TRTEngineOp_000_000"
    asset = AssetFile.open(path)
    assert asset.plans == ()
    assert asset.load_onnx().precision == "FP16"


def test_the_summary_is_the_stock_table(converted):
    lines = []
    converted[0].summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert "TRTEngineOP Name" in lines[0]
    assert "[*] Total number of TensorRT engines: 1" in text
    assert "[*] % of OPs Converted: 100.00%" in text
    with pytest.raises(ValueError, match="160"):
        converted[0].summary(line_length=100)


def test_states(model_dir, converted):
    fresh = converter(model_dir)
    with pytest.raises(AssertionError):
        fresh.save("anywhere")
    with pytest.raises(RuntimeError, match="before summary"):
        fresh.summary()
    with pytest.raises(RuntimeError, match="before build"):
        fresh.build(lambda: [IMAGES])
    with pytest.raises(RuntimeError, match="input_fn"):
        fresh.build(None)
    with pytest.raises(AssertionError):
        converted[0].convert()


def test_build_takes_shapes_from_data(model_dir, tmp_path):
    made = converter(model_dir, options={"input_shapes": {}})
    made.convert()
    assert made.report()["segments"][0]["plans"] == []
    assert "input shapes aren't known" in made.report()["notes"][0]
    made.build(lambda: iter([IMAGES, {"image": IMAGES[:1]}, [IMAGES[:2]]]))
    (segment,) = made.report()["segments"]
    assert len(segment["plans"]) == 1
    with pytest.raises(NotImplementedError):
        made.build(lambda: [IMAGES])


def test_build_with_no_batch(model_dir):
    made = converter(model_dir, options={"input_shapes": {}})
    made.convert()
    with pytest.raises(RuntimeError, match="yields no batch"):
        made.build(lambda: [])


def test_static_mode_builds_an_engine_for_each_shape(model_dir):
    made = converter(model_dir, options={"input_shapes": {}}, use_dynamic_shape=None)
    made.convert()
    made.build(lambda: [IMAGES, IMAGES[:1], IMAGES])
    assert [len(segment["plans"]) for segment in made.report()["segments"]] == [2]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"precision_mode": "FP17"}, "precision mode 'FP17'"),
        ({"minimum_segment_size": 0}, "minimum_segment_size=0"),
        ({"dynamic_shape_profile_strategy": "Best"}, "profile strategy 'Best'"),
        ({"maximum_cached_engines": 0}, "maximum_cached_engines=0"),
        ({"conversion_params": TrtConversionParams(precision_mode="x")}, "precision mode 'x'"),
    ],
)
def test_bad_parameters_are_value_errors(model_dir, keywords, message):
    with pytest.raises(ValueError, match=message) as caught:
        converter(model_dir, **keywords)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "cuda"}, "engine='cuda'"),
        ({"input_shapes": {"x": ShapeRange((2,), (1,), (3,))}}, "min <= opt <= max"),
        ({"compute_capabilities": ("89",)}, "MAJOR.MINOR"),
        ({"compute_capabilities": "8.9"}, "sequence of strings"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ToolkitOptions(**options)


def test_bad_models_and_names(model_dir, tmp_path):
    with pytest.raises(ModelError, match="no SavedModel"):
        converter(str(tmp_path / "missing")).convert()
    with pytest.raises(ModelError, match=r"no signature 'serve'.*'serving_default'"):
        converter(model_dir, input_saved_model_signature_key="serve").convert()
    with pytest.raises(ModelError, match=r"no graph tagged 'gpu'"):
        converter(model_dir, input_saved_model_tags=["gpu"]).convert()
    unknown = {"input_shapes": {"img": ShapeRange((1,), (1,), (1,))}}
    with pytest.raises(InvalidArgumentError, match=r"names 'img'.*inputs are image"):
        converter(model_dir, options=unknown).convert()


def test_calibration_arguments(model_dir):
    with pytest.raises(ValueError, match="INT8 needs calibration_input_fn"):
        converter(model_dir, precision_mode="INT8").convert()
    with pytest.raises(ValueError, match="FP32 and use_calibration=False take none"):
        converter(model_dir).convert(calibration_input_fn=lambda: [IMAGES])


def test_a_model_with_nothing_to_convert(model_dir):
    made = converter(
        model_dir, input_saved_model_signature_key="lengths", options={"input_shapes": {}}
    )
    with pytest.raises(ConversionError, match=r"no part of it can become an engine \(StringLength"):
        made.convert()


def test_a_model_that_computes_nothing(tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None, 2], tf.float32, "x")
    module.serve = tf.function(lambda x: {"y": x}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.serve})
    with pytest.raises(ConversionError, match="it computes nothing from its inputs"):
        converter(tmp_path, options={"input_shapes": {}}).convert()


def test_full_conversion_can_be_required(model_dir):
    made = converter(
        model_dir, options={"require_full_conversion": True, "native_ops": ["Softmax"]}
    )
    with pytest.raises(ConversionError, match=r"stay native, and full conversion.*Softmax"):
        made.convert()


def test_the_denylist_is_read_from_the_environment(model_dir, monkeypatch):
    monkeypatch.setenv("TF_TRT_OP_DENYLIST", "Softmax, Relu")
    report = converter(model_dir).analyze()
    assert {"Softmax", "Relu"} <= {entry["op"] for entry in report["refused"]}


def test_analyze_builds_nothing(model_dir):
    report = converter(model_dir).analyze()
    assert report["segments"]
    assert all(segment["plans"] == [] for segment in report["segments"])


def test_defaults_can_be_replaced():
    params = tftrt_toolkit.DEFAULT_TRT_CONVERSION_PARAMS._replace(precision_mode="FP16")
    assert params.precision_mode == "FP16"
    assert params.minimum_segment_size == 3
    assert params.max_workspace_size_bytes > 1 << 60


def test_the_converted_function_keeps_its_engines_when_the_converter_goes(model_dir):
    tftrt_toolkit.set_executors(["onnxruntime"])
    try:
        made = converter(model_dir)
        function = made.convert()
        (segment,) = made.report()["segments"]
        before = {one.resource: one.calls for one in tftrt_toolkit.runtime_stats()}
        del made
        gc.collect()
        function(image=tf.constant(IMAGES))
    finally:
        tftrt_toolkit.set_executors(None)
    ran = [one for one in tftrt_toolkit.runtime_stats() if one.calls > before[one.resource]]
    assert [(one.executor, one.failed) for one in ran] == [("onnxruntime", 0)]
    assert ran[0].resource.startswith(segment["name"].rpartition("/")[2])
