import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from tftrt_toolkit.artifacts import Observation, Segment, TensorSpec
from tftrt_toolkit.records import Record, may_be_shape

SEGMENT = Segment(
    name="TRTEngineOp_000_000",
    graph="serving_default",
    nodes=("add",),
    inputs=(
        TensorSpec("x:0", tf.float32, tf.TensorShape([None, 2])),
        TensorSpec("shape:0", tf.int32, tf.TensorShape([2])),
    ),
    outputs=(TensorSpec("add:0", tf.float32, tf.TensorShape(None)),),
    weights=(),
    control_inputs=(),
    op_counts={"AddV2": 1},
)


def call(batch, target):
    return (np.zeros((batch, 2), np.float32), np.array(target, np.int32)), (np.zeros(3),)


def test_distinct_shapes_and_values_are_kept_once():
    record = Record(SEGMENT, max_samples=1)
    for arguments in (call(1, [1, 2]), call(4, [4, 2]), call(1, [1, 2])):
        record.add(*arguments)
    assert record.calls == 3
    assert len(record.samples) == 1
    assert record.observations == (
        Observation({"x:0": (1, 2), "shape:0": (2,)}, {"shape:0": (1, 2)}),
        Observation({"x:0": (4, 2), "shape:0": (2,)}, {"shape:0": (4, 2)}),
    )


def test_indices_of_a_batch_are_no_shape():
    indices = TensorSpec("x:0", tf.int64, tf.TensorShape([None]))
    record = Record(dataclasses.replace(SEGMENT, inputs=(indices,)), max_samples=0)
    for size in (2, 3):
        record.add((np.arange(size),), (np.zeros(size),))
    assert record.observations == (Observation({"x:0": (2,)}, {}), Observation({"x:0": (3,)}, {}))


def test_calls_from_many_threads_are_all_counted():
    record = Record(SEGMENT, max_samples=5)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: record.add(*call(index % 3 + 1, [1, 2])), range(300)))
    assert (record.calls, len(record.samples), len(record.observations)) == (300, 5, 3)


def test_what_may_be_a_shape():
    assert may_be_shape(np.int32, tf.TensorShape([4]))
    assert may_be_shape(np.int64, tf.TensorShape([]))
    assert may_be_shape(np.int32, tf.TensorShape(None))
    assert not may_be_shape(np.int32, tf.TensorShape([2, 2]))
    assert not may_be_shape(np.int32, tf.TensorShape([1000]))
    assert not may_be_shape(np.float32, tf.TensorShape([4]))
