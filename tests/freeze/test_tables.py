import numpy as np
import pytest
import tensorflow as tf

from tests.freeze.frozen import ops
from tftrt_toolkit.freeze import freeze_function


def shape_of_lookup(table, spec):
    @tf.function(input_signature=[spec])
    def serve(keys):
        return {"found": table.lookup(keys, name="lookup")}

    frozen = freeze_function(serve.get_concrete_function(), "serve")
    (name,) = [node.name for node in frozen.graph.graph_def.node if "LookupTableFind" in node.op]
    return frozen.graph.tensors[f"{name}:0"].shape


def test_a_table_stays_a_capture():
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], [10, 20]), default_value=-1
    )
    words = tf.TensorSpec([None], tf.string)
    serve = tf.function(lambda words: table.lookup(words)).get_concrete_function(words)
    frozen = freeze_function(serve, "main")
    assert "LookupTableFindV2" in ops(frozen.graph)
    assert any(capture is table.resource_handle for capture in frozen.captures.values())


def scalars():
    values = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
    return tf.lookup.StaticHashTable(values, default_value=-1)


def vectors():
    """Keys of two numbers, values of three."""
    table = tf.lookup.experimental.DenseHashTable(
        tf.int64, tf.float32, default_value=[0.0, 0.0, 0.0], empty_key=[-1, -1],
        deleted_key=[-2, -2],
    )  # fmt: skip
    table.insert(np.array([[1, 2]], np.int64), np.ones((1, 3), np.float32))
    return table


@pytest.mark.parametrize(
    ("table", "spec", "shape"),
    [
        (scalars, tf.TensorSpec([None], tf.string), [None]),
        (scalars, tf.TensorSpec([4, None], tf.string), [4, None]),
        (vectors, tf.TensorSpec([None, 2], tf.int64), [None, 3]),
    ],
)
def test_a_lookup_has_the_shape_of_its_keys_and_its_tables_values(table, spec, shape):
    assert shape_of_lookup(table(), spec).as_list() == shape


def test_nothing_is_claimed_of_an_uninitialized_table():
    handle = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(keys):
        default = tf.constant(0, tf.int64)
        return {"found": tf.raw_ops.LookupTableFindV2(
            table_handle=handle, keys=keys, default_value=default, name="lookup"
        )}  # fmt: skip

    frozen = freeze_function(serve.get_concrete_function(), "serve")
    (name,) = [node.name for node in frozen.graph.graph_def.node if "LookupTableFind" in node.op]
    assert frozen.graph.tensors[f"{name}:0"].shape.rank is None
