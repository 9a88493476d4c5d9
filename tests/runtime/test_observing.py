import threading

import numpy as np
import pytest
import tensorflow as tf

from tests.runtime.engines import double_plus, engine, model_of, new_resource
from tftrt_toolkit import runtime


def test_inputs_and_outputs_of_a_call_are_handed_over():
    resource = new_resource()
    model = model_of(double_plus(), resource)
    seen = []
    with runtime.observe({resource: lambda *arrays: seen.append(arrays)}):
        model(tf.ones([2, 4]), 3)
    model(tf.ones([2, 4]), 4)
    [((x, n), (y, m))] = seen
    np.testing.assert_array_equal(x, np.ones([2, 4], np.float32))
    np.testing.assert_array_equal(y, np.full([2, 4], 5, np.float32))
    assert (n, n.dtype, n.shape, m) == (3, np.int32, (), 4)


def test_every_iteration_of_a_loop_is_seen():
    resource, segment = new_resource(), double_plus()

    @tf.function
    def model(x):
        for i in tf.range(3):
            x = tf.ensure_shape(engine([x, i], segment, resource)[0], [1, 4])
        return x

    seen = []
    with runtime.observe({resource: lambda inputs, _: seen.append(int(inputs[1]))}):
        model(tf.zeros([1, 4]))
    assert sorted(seen) == [0, 1, 2]


def test_empty_and_bfloat16_tensors_arrive_whole():
    resource = new_resource()

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.bfloat16)])
    def segment(x):
        return x + x

    model = model_of(segment.get_concrete_function(), resource)
    seen = []
    with runtime.observe({resource: lambda *arrays: seen.append(arrays)}):
        model(tf.ones([0, 2], tf.bfloat16))
        model(tf.ones([1, 2], tf.bfloat16))
    assert seen[0][0][0].shape == (0, 2)
    assert seen[1][1][0].dtype == tf.bfloat16.as_numpy_dtype
    assert seen[1][1][0].astype(float).tolist() == [[2.0, 2.0]]


def test_an_observers_error_is_raised_when_the_block_ends():
    resource = new_resource()
    model = model_of(double_plus(), resource)

    def fail(_inputs, _outputs):
        raise ZeroDivisionError("in the observer")

    finished = []
    with (
        pytest.raises(ZeroDivisionError, match="in the observer"),
        runtime.observe({resource: fail}),
    ):
        finished.append(model(tf.ones([1, 4]), 1)[1].numpy())
    assert finished == [2]


def test_blocks_nest_and_end_apart():
    resource = new_resource()
    model = model_of(double_plus(), resource)
    outer, inner = [], []
    with runtime.observe({resource: lambda *_: outer.append(1)}):
        with runtime.observe({resource: lambda *_: inner.append(1)}):
            model(tf.ones([1, 4]), 1)
        model(tf.ones([1, 4]), 1)
    model(tf.ones([1, 4]), 1)
    assert (len(outer), len(inner)) == (2, 1)


def test_threads_are_all_seen_each_with_its_own_tensors():
    resource = new_resource()
    model = model_of(double_plus(), resource)
    seen = []

    def call(first):
        for n in range(first, first + 25):
            model(tf.fill([1, 4], float(n)), n)

    with runtime.observe({resource: lambda i, o: seen.append((i, o))}):
        threads = [threading.Thread(target=call, args=(100 * k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(int(i[1]) for i, _ in seen) == sorted(
        n for k in range(8) for n in range(100 * k, 100 * k + 25)
    )
    assert all((o[0] == 3 * i[1]).all() for i, o in seen)
