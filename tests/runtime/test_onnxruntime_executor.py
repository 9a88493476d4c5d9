import dataclasses
import threading

import numpy as np
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from tests.runtime.assets import double_plus_asset
from tests.runtime.engines import double_plus, model_of, stats
from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import OnnxModel, SegmentAsset, TensorSpec, TypedOnnx
from tftrt_toolkit.asset import AssetFile, write_asset


def bind(resource, asset):
    assert runtime.bind(resource, asset, executors=["onnxruntime"]).executor == "onnxruntime"


def test_batches_of_every_size_and_none(resource, tmp_path):
    model = model_of(double_plus(), resource)
    bind(resource, double_plus_asset(tmp_path / "engine", factor=3.0))
    for rows in (2, 2, 0, 0, 5, 2):
        y, m = model(tf.ones([rows, 4]), 7)
        assert y.numpy().tolist() == [[10.0] * 4] * rows
        assert m.numpy() == 8
    assert (stats(resource).calls, stats(resource).native_calls) == (6, 0)


def segment_asset(path, nodes, inputs, outputs, weights=()):
    """An asset of ONNX nodes; inputs and outputs as (name, TF dtype, shape)."""

    def infos(values):
        return [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(np.dtype(dtype.as_numpy_dtype)),
                [size if size is not None else f"{name}_{i}" for i, size in enumerate(shape)],
            )
            for name, dtype, shape in values
        ]

    def specs(values):
        return tuple(
            TensorSpec(name, dtype, tf.TensorShape(shape)) for name, dtype, shape in values
        )

    graph = helper.make_graph(nodes, "segment", infos(inputs), infos(outputs), list(weights))
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    typed = TypedOnnx(OnnxModel(proto, {}), "FP32")
    write_asset(path, SegmentAsset("segment", specs(inputs), specs(outputs), typed, ()))
    return AssetFile.open(path)


def test_a_convolution_of_no_rows_has_its_channels(resource, tmp_path):
    kernel = np.ones((3, 2, 1, 1), np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, 2, 4, 4], tf.float32)], autograph=False)
    def segment(x):
        return tf.einsum("bihw,oi->bohw", x, kernel[:, :, 0, 0])

    model = model_of(segment.get_concrete_function(), resource)
    asset = segment_asset(
        tmp_path / "engine",
        [helper.make_node("Conv", ["x:0", "kernel"], ["y:0"])],
        [("x:0", tf.float32, [None, 2, 4, 4])],
        [("y:0", tf.float32, [None, 3, 4, 4])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    bind(resource, asset)
    assert model(tf.ones([1, 2, 4, 4]))[0].numpy().tolist() == np.full((1, 3, 4, 4), 2.0).tolist()
    assert model(tf.ones([0, 2, 4, 4]))[0].shape == (0, 3, 4, 4)


def test_shapes_that_depend_on_values(resource, tmp_path):
    """Equal input shapes give outputs of different lengths, so nothing may be kept."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)], autograph=False)
    def segment(x):
        return tf.boolean_mask(x, x > 0)

    model = model_of(segment.get_concrete_function(), resource)
    nodes = [
        helper.make_node("Greater", ["x:0", "zero"], ["positive"]),
        helper.make_node("Compress", ["x:0", "positive"], ["y:0"], axis=0),
    ]
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    bind(
        resource,
        segment_asset(
            tmp_path / "engine",
            nodes,
            [("x:0", tf.float32, [None])],
            [("y:0", tf.float32, [None])],
            [zero],
        ),
    )
    for values in ([1, -1, 2], [-1, -1, -1], [1, 2, 3], [4, -1, -1]):
        [y] = model(tf.constant(values, tf.float32))
        assert y.numpy().tolist() == [float(value) for value in values if value > 0]
    assert (stats(resource).calls, stats(resource).failed) == (4, 0)


@pytest.mark.parametrize(
    "dtype",
    [tf.bool, tf.int8, tf.uint8, tf.int32, tf.int64, tf.float16, tf.bfloat16, tf.float32],
    ids=lambda dtype: dtype.name,
)
def test_an_output_that_is_an_input_in_every_dtype(resource, tmp_path, dtype):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], dtype)], autograph=False)
    def segment(x):
        return tf.identity(x)

    model = model_of(segment.get_concrete_function(), resource)
    nodes = [helper.make_node("Identity", ["x:0"], ["y:0"])]
    bind(
        resource,
        segment_asset(
            tmp_path / "engine", nodes, [("x:0", dtype, [None, 2])], [("y:0", dtype, [None, 2])]
        ),
    )
    value = tf.cast([[0, 1], [1, 0]], dtype)
    for _ in range(2):
        [y] = model(value)
        assert y.dtype == dtype
        assert y.numpy().tolist() == value.numpy().tolist()
    assert stats(resource).calls == 2


def test_sixteen_threads_get_their_own_answers(resource, tmp_path):
    model = model_of(double_plus(), resource)
    bind(resource, double_plus_asset(tmp_path / "engine", factor=3.0))
    wrong, done = [], []

    def call(seed):
        for n in range(40):
            rows = 1 + (seed + n) % 5
            y, m = model(tf.fill([rows, 4], float(seed)), n)
            if not ((y.numpy() == 3 * seed + n).all() and y.shape == (rows, 4) and m == n + 1):
                wrong.append((seed, n))
            done.append(1)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, len(done)) == ([], 640)
    assert stats(resource).native_calls == 0


def test_onnx_that_the_session_refuses_runs_natively(resource, tmp_path, caplog):
    model = model_of(double_plus(), resource)
    nodes = [
        helper.make_node("NoSuchOp", ["x:0"], ["y:0"]),
        helper.make_node("Identity", ["n:0"], ["m:0"]),
    ]
    asset = segment_asset(
        tmp_path / "engine",
        nodes,
        [("x:0", tf.float32, [None, 4]), ("n:0", tf.int32, [])],
        [("y:0", tf.float32, [None, 4]), ("m:0", tf.int32, [])],
    )
    runtime.bind(resource, asset, executors=["onnxruntime"])
    assert model(tf.ones([1, 4]), 3)[0].numpy().tolist() == [[5.0] * 4]
    assert "NoSuchOp" in caplog.text


@pytest.mark.parametrize("change", ["inputs", "outputs", "fewer", "onnx"])
def test_another_segments_asset_is_set_aside(resource, tmp_path, change):
    """Its tensors would be read and written out of bounds."""
    whole = double_plus_asset(tmp_path / "whole")
    typed, inputs, outputs = whole.load_onnx(), whole.inputs, whole.outputs
    if change == "inputs":
        inputs = (dataclasses.replace(inputs[0], dtype=tf.float64), inputs[1])
    elif change == "outputs":
        outputs = (outputs[0], dataclasses.replace(outputs[1], dtype=tf.int64))
    elif change == "fewer":
        outputs = outputs[:1]
    else:  # the ONNX doesn't make what the manifest says
        outputs = (dataclasses.replace(outputs[0], name="m:0"), outputs[1])
    write_asset(tmp_path / "other", SegmentAsset("segment", inputs, outputs, typed, ()))
    model = model_of(double_plus(), resource)
    bind(resource, AssetFile.open(tmp_path / "other"))
    y, m = model(tf.ones([2, 4]), 7)
    assert y.numpy().tolist() == [[9.0] * 4] * 2
    assert m.numpy() == 8
    found = stats(resource)
    assert (found.calls, found.native_calls, found.failed) == (0, 1, 1)
    assert "AssetError" in found.reason
