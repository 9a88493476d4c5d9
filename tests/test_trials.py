import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import trials
from tftrt_toolkit.artifacts import ShapeRange, TensorSpec
from tftrt_toolkit.errors import InvalidArgumentError

SPECS = {
    "ids": tf.TensorSpec([None, None], tf.int64, name="ids"),
    "scale": tf.TensorSpec([3], tf.float32, name="scale"),
}
RANGE = ShapeRange((1, 4), (2, 16), (8, 64))


def test_points_are_the_range_and_the_fixed_shapes():
    low, best, high = trials.profile_points(SPECS, {"ids": RANGE})
    assert low == {"ids": (1, 4), "scale": (3,)}
    assert best == {"ids": (2, 16), "scale": (3,)}
    assert high == {"ids": (8, 64), "scale": (3,)}


def test_open_shapes_without_ranges_have_no_points():
    assert trials.profile_points(SPECS, {}) is None
    fixed = {"scale": SPECS["scale"]}
    assert trials.profile_points(fixed, {})[0] == {"scale": (3,)}


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"mask": RANGE}, "names 'mask', but the signature's inputs are ids, scale"),
        ({"scale": ShapeRange((4,), (4,), (4,))}, r"gives 'scale' the shape \[4\]"),
        ({"scale": ShapeRange((3,), (3,), (3,))}, "says nothing of input 'ids'"),
    ],
)
def test_ranges_that_do_not_fit(ranges, message):
    with pytest.raises(InvalidArgumentError, match=message):
        trials.profile_points(SPECS, ranges)


def traced(function, *specs):
    return tf.function(function, input_signature=specs).get_concrete_function()


def test_guessed_shapes_stay_within_the_range():
    function = traced(lambda ids: {"y": ids + 1}, SPECS["ids"])
    (batch,) = trials.guessed_batches(function, {"ids": ShapeRange((4, 1), (4, 2), (4, 5))})
    assert batch["ids"].shape == (4, 5)
    assert batch["ids"].dtype == tf.int64
    assert set(np.unique(batch["ids"])) <= {0, 1}


def test_unknown_dimensions_grow_from_guess_to_guess():
    spec = tf.TensorSpec([None, None, None, 3], tf.float32, name="image")
    guesses = trials.guessed_batches(traced(lambda image: {"y": image * 2}, spec), {})
    sizes = [tuple(batch["image"].shape) for batch in guesses]
    assert sizes[:2] == [(2, 8, 8, 3), (2, 32, 32, 3)]
    assert sizes == sorted(set(sizes))


def test_nothing_is_made_up_for_an_unknown_rank():
    spec = tf.TensorSpec(None, tf.float32, name="x")
    assert list(trials.guessed_batches(traced(lambda x: {"y": x * 2}, spec), {})) == []


def test_random_inputs_of_a_segment():
    specs = [
        TensorSpec("a:0", tf.float16, tf.TensorShape([None, 5])),
        TensorSpec("b:0", tf.bool, tf.TensorShape([])),
    ]
    half, flag = trials.segment_inputs(specs)
    assert (half.dtype, half.shape) == (np.float16, (2, 5))
    assert (flag.dtype, flag.shape) == (np.bool_, ())
