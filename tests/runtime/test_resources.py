import gc
import shutil
import struct
import threading

import pytest
import tensorflow as tf

from tests.runtime.assets import EngineResource, StockEngineResource, double_plus_asset, save
from tests.runtime.engines import double_plus, model_of, new_resource
from tftrt_toolkit import runtime
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.runtime import ops, resources, selection

ONES = tf.ones([1, 4])
NATIVE, ONNX = 5.0, 6.0  # for an n of 3: the asset's ONNX triples


@pytest.fixture(params=[EngineResource, StockEngineResource])
def saved(tmp_path, request):
    resource = new_resource()
    asset = double_plus_asset(tmp_path / "engine", factor=3.0)
    model = model_of(double_plus(), resource)
    directory = save(tmp_path / "model", model, resource, asset.path, request.param)
    return directory, resource


def answer(model):
    return model.serve(ONES, 3)[0].numpy()[0, 0]


def executor(resource):
    found = {one.resource: one.executor for one in runtime.runtime_stats()}
    return found.get(resource, "forgotten")


def test_the_default_stays_native_and_says_why_once(saved, caplog):
    directory, resource = saved
    model = tf.saved_model.load(str(directory))
    assert answer(model) == NATIVE
    assert answer(model) == NATIVE
    lines = [one.message for one in caplog.records if resource in one.message]
    assert lines == [f"{resource} runs natively: it holds no plan"]


def test_what_the_process_knows_is_not_said_again(saved, tmp_path, caplog):
    """Having converted the model, or loaded it from elsewhere, it knows; another reason is new."""
    directory, resource = saved
    runtime.bind(resource, AssetFile.open(tmp_path / "engine"))
    tf.saved_model.load(str(directory))
    tf.saved_model.load(str(shutil.copytree(directory, tmp_path / "copy")))
    assert resource not in caplog.text
    runtime.load(directory, executors=[])
    assert resource not in caplog.text
    (asset,) = (directory / "assets").iterdir()
    asset.write_bytes(b"damaged")
    tf.saved_model.load(str(directory))
    assert f"{resource} runs natively: " in caplog.text


def test_executors_are_those_of_the_load(saved):
    directory, resource = saved
    model = runtime.load(directory, executors=["tensorrt", "onnxruntime"])
    assert executor(resource) == "onnxruntime"
    assert answer(model) == ONNX


def test_executors_are_those_of_the_environment(saved, monkeypatch):
    monkeypatch.setenv(selection.ENVIRONMENT, "tensorrt, xla")
    assert answer(runtime.load(saved[0])) == NATIVE
    assert executor(saved[1]) == "xla"


def test_executors_are_those_of_the_process(saved):
    runtime.set_executors(["onnxruntime"])
    try:
        assert answer(tf.saved_model.load(str(saved[0]))) == ONNX
    finally:
        runtime.set_executors(None)


def test_unknown_executors_are_refused(saved, monkeypatch):
    with pytest.raises(InvalidArgumentError, match="no executor is called 'onnx': use tuned"):
        runtime.load(saved[0], executors=["onnx"])
    with pytest.raises(InvalidArgumentError, match="not the string 'xla'"):
        runtime.set_executors("xla")
    monkeypatch.setenv(selection.ENVIRONMENT, "fastest")
    with pytest.raises(tf.errors.FailedPreconditionError, match="no executor is called 'fastest'"):
        runtime.load(saved[0])


def test_two_loads_and_one_is_dropped(saved, monkeypatch):
    directory, closed = saved[0], threading.Event()
    close = resources.OnnxRuntimeExecutor.close
    monkeypatch.setattr(
        resources.OnnxRuntimeExecutor, "close", lambda self: (closed.set(), close(self))
    )
    first = runtime.load(directory, executors=["onnxruntime"])
    second = runtime.load(directory, executors=["onnxruntime"])
    assert answer(first) == answer(second) == ONNX
    del first
    gc.collect()
    assert not closed.wait(0.2)
    assert answer(second) == ONNX
    del second
    gc.collect()
    assert closed.wait(30)  # in a thread of its own
    assert answer(runtime.load(directory, executors=["onnxruntime"])) == ONNX


def test_a_signature_keeps_its_executor_when_the_model_is_gone(saved):
    directory = saved[0]
    serve = runtime.load(directory, executors=["onnxruntime"]).signatures["serving_default"]
    names = {spec.dtype: name for name, spec in serve.structured_input_signature[1].items()}
    feeds = {names[tf.float32]: ONES, names[tf.int32]: tf.constant(3)}
    assert serve(**feeds)["y"].numpy()[0, 0] == ONNX
    gc.collect()
    assert serve(**feeds)["y"].numpy()[0, 0] == ONNX


def test_another_asset_at_the_same_place_is_loaded_anew(saved):
    directory, _ = saved
    assert answer(runtime.load(directory, executors=["onnxruntime"])) == ONNX
    double_plus_asset(directory / "assets" / "engine", factor=9.0)
    assert answer(runtime.load(directory, executors=["onnxruntime"])) == 12.0


def test_what_was_bound_by_hand_outlives_the_models(saved, tmp_path):
    directory, resource = saved
    model = tf.saved_model.load(str(directory))
    choice = runtime.bind(
        resource, double_plus_asset(tmp_path / "other", factor=7.0), executors=["onnxruntime"]
    )
    assert choice.executor == "onnxruntime"
    assert answer(model) == 10.0
    del model
    gc.collect()
    assert executor(resource) == "onnxruntime"
    assert runtime.bind(resource, None) is None
    assert executor(resource) in ("native", "forgotten")


def test_a_damaged_asset_leaves_the_model_native(saved, caplog):
    directory, resource = saved
    asset = directory / "assets" / "engine"
    asset.write_bytes(asset.read_bytes()[:-100])
    model = runtime.load(directory, executors=["onnxruntime"])
    assert answer(model) == NATIVE
    assert f"{resource} runs natively: " in caplog.text
    assert "damaged" in caplog.text


def stock_asset(payload):
    head = struct.pack("<Q", len(payload))
    return head + struct.pack("<I", resources._masked_crc32c(head)) + payload + b"\0" * 4


@pytest.mark.parametrize("content", [b"", stock_asset(b"a TRTEngineInstance")])
def test_engines_of_stock_tf_trt_are_set_aside(saved, caplog, content):
    directory, resource = saved
    (directory / "assets" / "engine").write_bytes(content)
    assert answer(runtime.load(directory, executors=["onnxruntime"])) == NATIVE
    assert f"{resource} runs natively: its engine is of stock TF-TRT" in caplog.text


def test_stock_assets_are_those_that_tensorflow_writes(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "records")) as writer:
        writer.write(b"a TRTEngineInstance")
    assert resources.is_stock_asset(tmp_path / "records")
    assert not resources.is_stock_asset(double_plus_asset(tmp_path / "ours").path)
    assert not resources.is_stock_asset(tmp_path / "missing")


def test_serializing_copies_the_bound_asset(tmp_path):
    resource, target = new_resource(), tmp_path / "copy"
    asset = double_plus_asset(tmp_path / "engine")
    runtime.bind(resource, asset)
    ops.serialize_trt_resource(resource, str(target))
    assert target.read_bytes() == asset.path.read_bytes()
    runtime.bind(resource, None)
    with pytest.raises(tf.errors.NotFoundError, match="no asset is bound"):
        ops.serialize_trt_resource(resource, str(target))


def test_a_handle_of_something_else_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError):
        ops.initialize_trt_resource(tf.Variable(1.0).handle, "engine")
