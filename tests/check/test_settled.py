import numpy as np
import onnx
import pytest
import tensorflow as tf

from tests.segments import as_arrays, freeze
from tftrt_toolkit.artifacts import Sample
from tftrt_toolkit.check import ACCUMULATED_BOUND, segment_check, verify_segment
from tftrt_toolkit.check.blame import native_values
from tftrt_toolkit.check.settled import settled_nodes, shared_differences
from tftrt_toolkit.export import export_segment

X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)


def forked(x):
    """`end` and `other` are reached over `squash`; `other` also straight from `product`."""
    kernel = tf.constant(0.5 * np.eye(4, dtype=np.float32), name="kernel")
    product = tf.matmul(x, kernel, name="product")
    squash = tf.tanh(product, name="squash")
    return {"a": tf.multiply(squash, 3.0, name="end"), "b": tf.add(squash, product, name="other")}


@pytest.fixture(scope="module")
def segment():
    return freeze(forked, [tf.TensorSpec([None, 4], tf.float32, name="x")])


@pytest.fixture(scope="module")
def values(segment):
    sample = Sample((X,), tuple(as_arrays(forked(tf.constant(X)))))
    return native_values(*segment, sample)


def differences(segment, values, *wrong):
    """As if the mapping gave tensors named in `wrong` 0.1 % too small."""
    off = {name: value * np.float32(1.001) for name, value in values.items() if name in wrong}
    return shared_differences(export_segment(*segment), {**values, **off}, [X])


@pytest.mark.parametrize(
    ("wrong", "unsettled"),
    [
        ((), set()),
        (("end:0",), {"end", "end/y"}),
        (("other:0",), {"other"}),
        (("end:0", "squash:0"), {"end", "end/y", "squash"}),
        (("other:0", "product:0"), {"other", "product", "kernel"}),
        (("squash:0",), set()),  # what it leads to is right
    ],
)
def test_what_is_left_to_look_at(segment, values, wrong, unsettled):
    # The two identities behind the outputs bear the same values under names of their own.
    aliases = {"end:0": "Identity:0", "other:0": "Identity_1:0"}
    found = differences(segment, values, *wrong, *(aliases[one] for one in wrong if one in aliases))
    left = set(segment[1].nodes) - settled_nodes(*segment, found)
    assert {name for name in left if not name.startswith("Identity")} == unsettled


def test_settled_nodes_are_not_exported_again(segment):
    looked_at = []

    def export(graph, part):
        looked_at.extend(spec.name for spec in part.outputs)
        return export_segment(graph, part)

    model = export_segment(*segment)
    for tensor in model.proto.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.size == 1 and value == 3:  # rounding, as it were, between `squash` and `end`
            tensor.CopyFrom(onnx.numpy_helper.from_array(value * np.float32(1.0004), tensor.name))
    sample = Sample((X,), tuple(as_arrays(forked(tf.constant(X)))))
    result = verify_segment(*segment, model, [sample], export)
    assert result.passed
    assert result.bound == ACCUMULATED_BOUND
    assert "end:0" in looked_at
    assert not {"squash:0", "product:0"} & set(looked_at)


def test_an_output_that_became_a_constant_is_compared_too():
    def constant(x):
        return {"a": tf.multiply(x, 2.0), "b": tf.constant([1.0, 2.0])}

    graph, part = freeze(constant, [tf.TensorSpec([None, 4], tf.float32, name="x")])
    sample = Sample((X,), tuple(as_arrays(constant(tf.constant(X)))))
    values = native_values(graph, part, sample)
    found = shared_differences(export_segment(graph, part), values, [X])
    assert {spec.name for spec in part.outputs} <= found.keys()


def scaled(x):
    for index in range(12):
        x = tf.nn.relu(tf.multiply(x, tf.constant(2.0 + index)))
    return {"y": x}


@pytest.mark.parametrize(("index", "runs"), [(11, 0), (2, 1)])
def test_the_model_runs_again_only_where_its_last_nodes_dont_tell(monkeypatch, index, runs):
    graph, part = freeze(scaled, [tf.TensorSpec([None, 4], tf.float32, name="x")])
    model = export_segment(graph, part)
    for tensor in model.proto.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value == 2.0 + index:  # rounding, as it were, from here to the end
            tensor.CopyFrom(onnx.numpy_helper.from_array(value * np.float32(1.0004), tensor.name))
    called = []

    def counted(*arguments):
        called.append(arguments)
        return shared_differences(*arguments)

    monkeypatch.setattr(segment_check, "shared_differences", counted)
    sample = Sample((X,), tuple(as_arrays(scaled(tf.constant(X)))))
    result = verify_segment(graph, part, model, [sample], export_segment)
    assert len(called) == runs
    assert result.passed
    assert result.bound == ACCUMULATED_BOUND
