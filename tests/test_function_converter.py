"""Live functions converted in memory."""

import gc

import numpy as np
import pytest
import tensorflow as tf

import tftrt_toolkit
from tftrt_toolkit import ShapeRange, ToolkitOptions, convert_function, runtime
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError

IMAGES = tf.TensorSpec([None, 8, 8, 3], tf.float32)
OPTIONS = ToolkitOptions(
    compute_capabilities=("8.6",),
    input_shapes={"image": ShapeRange((1, 8, 8, 3), (2, 8, 8, 3), (4, 8, 8, 3))},
)
BATCH = tf.random.stateless_normal([3, 8, 8, 3], [1, 2])


class Classifier(tf.Module):
    def __init__(self):
        generator = tf.random.Generator.from_seed(3)
        self.kernel = tf.Variable(generator.normal([3, 3, 3, 8]))
        self.dense = tf.Variable(generator.normal([512, 16]))

    @tf.function
    def __call__(self, image, scale=1.0, training=False):
        hidden = tf.nn.relu(tf.nn.conv2d(image, self.kernel, 1, "SAME") * scale)
        return tf.nn.softmax(tf.reshape(hidden, [-1, 512]) @ self.dense), {"features": hidden}

    @tf.function
    def nested(self, inputs):
        return self(inputs["image"])[0]


@pytest.fixture(scope="module")
def module():
    return Classifier()


def run_in_onnxruntime(conversion, *arguments):
    """Results, and the executors that ran; the default executors on a CPU would be TensorFlow's."""
    tftrt_toolkit.set_executors(["onnxruntime"])
    try:
        conversion.function.engines.bind()
        found = conversion(*arguments)
        resources = {engine.resource for engine in conversion.function.engines.engines}
        used = {one.executor for one in runtime.runtime_stats() if one.resource in resources}
    finally:
        tftrt_toolkit.set_executors(None)
    return found, used


@pytest.mark.parametrize("precision", ["FP32", "FP16", "INT8"])
def test_a_function_keeps_its_arguments_and_results(module, precision):
    original = module.__call__.get_concrete_function(IMAGES, tf.TensorSpec([]), training=True)
    data = [(BATCH, tf.constant(2.0))] if precision == "INT8" else None
    conversion = convert_function(
        original, precision_mode=precision, calibration_input_fn=data, options=OPTIONS
    )
    assert conversion.report["converted_nodes"] > 0
    assert all(segment["plans"] for segment in conversion.report["segments"])
    expected = original(BATCH, tf.constant(2.0))
    found, used = run_in_onnxruntime(conversion, BATCH, tf.constant(2.0))
    assert used == {"onnxruntime"}
    tf.nest.assert_same_structure(expected, found)
    tolerance = {"FP32": 1e-5, "FP16": 5e-3, "INT8": 0.1}[precision]
    features = expected[1]["features"]
    np.testing.assert_allclose(
        found[1]["features"] / tf.reduce_max(features),
        features / tf.reduce_max(features),
        rtol=0,
        atol=tolerance,
    )


def test_shapes_may_come_from_data_and_engines_hold_the_weights_of_that_moment():
    module = Classifier()
    original = module.__call__.get_concrete_function(IMAGES)
    before = original(BATCH)[0]
    options = ToolkitOptions(compute_capabilities=("8.6",))
    conversion = convert_function(original, input_fn=lambda: [BATCH], options=options)
    (segment,) = conversion.report["segments"]
    assert segment["plans"]
    module.dense.assign(-module.dense)
    (found, _), used = run_in_onnxruntime(conversion, BATCH)
    assert used == {"onnxruntime"}
    np.testing.assert_allclose(found, before, atol=1e-5)


def test_its_engines_go_with_the_function(module):
    conversion = convert_function(module.__call__.get_concrete_function(IMAGES), options=OPTIONS)
    (engine,) = conversion.function.engines.engines
    path, resource = conversion.function.engines.asset_files(True)[engine.resource], engine.resource
    assert run_in_onnxruntime(conversion, BATCH)[1] == {"onnxruntime"}
    assert path.exists()
    del conversion, engine
    gc.collect()
    assert not path.exists()
    executors = {one.resource: one.executor for one in runtime.runtime_stats()}
    assert executors.get(resource) in (None, "native")


def test_results_that_are_none_stay_so(module):
    @tf.function(input_signature=[IMAGES])
    def optional(image):
        return module(image)[0], None, {"loss": None}

    original = optional.get_concrete_function()
    probabilities, *rest = convert_function(original, options=OPTIONS)(BATCH)
    np.testing.assert_allclose(probabilities, original(BATCH)[0], rtol=1e-5, atol=1e-7)
    assert rest == [None, {"loss": None}]


def test_what_cannot_be_converted_says_so(module):
    with pytest.raises(InvalidArgumentError, match="get_concrete_function"):
        convert_function(module.__call__)
    nested = module.nested.get_concrete_function({"image": IMAGES})
    with pytest.raises(InvalidArgumentError, match="single tensors"):
        convert_function(nested)
    ragged = tf.RaggedTensorSpec([None, None], tf.float32)
    summed = tf.function(lambda rows: tf.reduce_sum(rows, 1)).get_concrete_function(ragged)
    with pytest.raises(InvalidArgumentError, match=r"takes RaggedTensor: .* single tensors"):
        convert_function(summed)
    with pytest.raises(InvalidArgumentError, match="INT8 needs calibration_input_fn"):
        convert_function(module.__call__.get_concrete_function(IMAGES), precision_mode="INT8")
    text = tf.function(tf.strings.length).get_concrete_function(tf.TensorSpec([None], tf.string))
    with pytest.raises(ConversionError, match="no part of it can become an engine"):
        convert_function(text)
