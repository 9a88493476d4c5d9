"""Native functions that round as their engines do, through the public converter."""

import numpy as np
import pytest
import tensorflow as tf

from tests.test_typed_segments import HELD_OUT, IMAGES, MODELS, converter
from tftrt_toolkit import ShapeRange
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.onnx_model import run_session, to_session
from tftrt_toolkit.precision import emulate
from tftrt_toolkit.precision.compare import relative_error

IMAGE = HELD_OUT.images[:64]


def outputs(function, **inputs):
    results = function(**{name: tf.constant(value) for name, value in inputs.items()})
    return [value.numpy() for value in results.values()]


def emulated(made, *inputs):
    model = emulate(made._conversion.engines.engines[0].typed)
    return run_session(to_session(model, optimize=False), model, inputs)


def original(directory, **inputs):
    return outputs(tf.saved_model.load(str(directory)).signatures["serving_default"], **inputs)


# Rounding errors that aren't shared are those of sums in another order, grown by all that follows.
@pytest.mark.parametrize(
    ("model", "precision", "share"),
    [
        ("digits_cnn", "FP16", 0.6),
        ("digits_cnn", "BF16", 0.75),
        ("digits_cnn", "INT8", 0.3),
        ("digits_cnn", "FP8", 0.1),
        ("digits_vit", "INT8", 0.7),
    ],
)
def test_the_fallback_gives_the_engines_numbers(model, precision, share):
    made = converter(MODELS / model, precision, typed_fallback=True)
    function = made.convert(calibration_input_fn=IMAGES)
    found, expected = outputs(function, image=IMAGE), emulated(made, IMAGE)
    damage = relative_error(original(MODELS / model, image=IMAGE), expected)
    assert relative_error(expected, found) < share * damage


def test_a_saved_model_keeps_it_and_deferred_calibration_has_it_too(tmp_path):
    made = converter(typed_fallback=True, unknown_shapes=True)
    made.convert(calibration_input_fn=IMAGES)
    made.build(lambda: [IMAGE[:4], IMAGE])
    made.save(str(tmp_path / "saved"))
    found, expected = original(tmp_path / "saved", image=IMAGE), emulated(made, IMAGE)
    damage = relative_error(original(MODELS / "digits_cnn", image=IMAGE), expected)
    assert relative_error(expected, found) < 0.3 * damage


@pytest.fixture(scope="module")
def assorted(tmp_path_factory):
    """A depthwise and a normalized convolution, a residual sum, products written in two ways."""
    directory = tmp_path_factory.mktemp("models") / "assorted"
    rng = np.random.default_rng(0)

    def weight(*shape):
        return tf.Variable((rng.normal(size=shape) / np.sqrt(shape[-2])).astype(np.float32))

    module = tf.Module()
    module.weights = [weight(3, 3, 16, 1), weight(3, 3, 16, 16), weight(16, 4, 8), weight(24, 32)]
    gamma = rng.uniform(0.5, 2, 16).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 16], tf.float32, name="x")])
    def serve(x):
        depthwise, kernel, dense, flipped = module.weights
        y = tf.nn.depthwise_conv2d(x, depthwise, [1, 1, 1, 1], "SAME") * gamma
        y = tf.nn.relu(tf.nn.conv2d(tf.nn.relu(y), kernel, 1, "SAME") * gamma + 0.1) + x
        z = tf.einsum("abc,cde->abde", tf.reshape(y, [-1, 36, 16]), dense)
        z = tf.reshape(z, [-1, 32])
        return {"y": y, "z": tf.linalg.matmul(z, flipped, transpose_b=True)}

    module.serve = serve
    tf.saved_model.save(module, str(directory), signatures={"serving_default": serve})
    return directory


@pytest.mark.parametrize("precision", ["FP16", "INT8"])
def test_other_forms_of_the_same_operators(assorted, precision):
    shapes = {"x": ShapeRange((1, 6, 6, 16), (4, 6, 6, 16), (8, 6, 6, 16))}
    made = converter(assorted, precision, input_shapes=shapes, typed_fallback=True)
    x = np.random.default_rng(1).normal(size=(8, 6, 6, 16)).astype(np.float32)
    function = made.convert(calibration_input_fn=[x[:4], x[4:]])
    # The outputs, whose order isn't the segment's, have different ranks.
    lists = (original(assorted, x=x), emulated(made, x), outputs(function, x=x))
    for before, one, other in zip(*(sorted(one, key=np.ndim) for one in lists), strict=True):
        assert relative_error([one], [other]) < 0.5 * relative_error([before], [one])


def test_an_overflow_shows_in_the_fallback(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
    def serve(x):
        return {"y": tf.linalg.matmul(tf.nn.relu(x), tf.fill([16, 16], 1e3)) * 1e-3}

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"), {"serving_default": serve})
    shapes = {"x": ShapeRange((1, 16), (4, 16), (8, 16))}
    made = converter(tmp_path / "model", "FP16", input_shapes=shapes, typed_fallback=True)
    function = made.convert(calibration_input_fn=[np.ones((4, 16), np.float32)])
    wild = np.full((1, 16), 10, np.float32)  # sums to 160,000
    (y,) = outputs(function, x=wild)
    assert np.isfinite(original(tmp_path / "model", x=wild)[0]).all()
    assert np.isinf(emulated(made, wild)[0]).all()
    assert np.isinf(y).all()


def test_four_bits_have_no_typed_fallback():
    with pytest.raises(InvalidArgumentError, match="INT4"):
        converter(precision="INT4", typed_fallback=True)
