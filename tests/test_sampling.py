import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.errors import InputError
from tftrt_toolkit.sampling import sample_inputs


def sample(shape, dtype=tf.float32, **options):
    return sample_inputs({"x": tf.TensorSpec(shape, dtype)}, **options)["x"]


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ([None, 3, None], {}, (2, 3, 8)),
        ([None, 3, None], {"batch": 5, "unknown": 7}, (5, 3, 7)),
        ([], {}, ()),
        ([None, None], {"shapes": {"x": ShapeRange((1, 16), (4, 32), (8, 64))}}, (2, 16)),
        ([None, None], {"shapes": {"x": ShapeRange((3, 1), (3, 2), (3, 4))}}, (3, 4)),
        ([None, None], {"shapes": {"y": ShapeRange((3, 1), (3, 2), (3, 4))}}, (2, 8)),
        (None, {"shapes": {"x": ShapeRange((1, 4), (1, 4), (1, 4))}}, (1, 4)),
    ],
)
def test_shapes(shape, options, expected):
    assert sample(shape, **options).shape == expected


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (tf.int32, {0, 1}),
        (tf.int64, {0, 1}),
        (tf.bool, {False, True}),
        (tf.string, {b"0", b"1"}),
    ],
)
def test_values_that_are_safe_as_indices(dtype, values):
    array = sample([100], dtype)
    assert array.dtype == dtype.as_numpy_dtype
    assert set(array.tolist()) == values
    assert tf.convert_to_tensor(array).dtype == dtype


@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.bfloat16, tf.float64, tf.complex64])
def test_floats_are_normal(dtype):
    array = sample([1000], dtype)
    assert array.dtype == dtype.as_numpy_dtype
    assert 0.8 < np.std(array.astype(np.complex128).real) < 1.2


def test_bytes_are_images():
    assert sample([1000], tf.uint8).max() > 200


def test_seed_decides():
    assert np.array_equal(sample([4], seed=3), sample([4], seed=3))
    assert not np.array_equal(sample([4], seed=3), sample([4], seed=4))


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [(None, tf.float32, "give its shapes in input_shapes"), ([2], tf.resource, "is resource")],
)
def test_what_cannot_be_sampled_is_named(shape, dtype, words):
    with pytest.raises(InputError, match=f"input 'x'.*{words}"):
        sample(shape, dtype)
