import dataclasses

import numpy as np
import onnx
import pytest
import tensorflow as tf

from tests.segments import as_arrays, freeze
from tftrt_toolkit.artifacts import Sample
from tftrt_toolkit.check import check_segment, verify_segment
from tftrt_toolkit.check.blame import native_values, wrong_apart, wrong_together
from tftrt_toolkit.export import export_segment

SPEC = tf.TensorSpec([None, 4], tf.float32, name="x")
X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)


def model(x):
    kernel = tf.constant(np.arange(16, dtype=np.float32).reshape(4, 4) / 16)
    y = tf.tanh(tf.matmul(x, kernel, name="product"), name="squash")
    return {"a": tf.add(y, 1.0, name="a"), "b": tf.cast(y > 0, tf.int32, name="b")}


@pytest.fixture(scope="module")
def segment():
    return freeze(model, [SPEC])


def sample_of(function, *inputs):
    return Sample(inputs, tuple(as_arrays(function(*map(tf.constant, inputs)))))


def broken_export(op_type, replacement):
    """Export with one op type replaced: a fault of a mapping."""

    def export(graph, segment):
        model = export_segment(graph, segment)
        proto = onnx.ModelProto()
        proto.CopyFrom(model.proto)
        for node in proto.graph.node:
            if node.op_type == op_type:
                node.op_type = replacement
        return dataclasses.replace(model, proto=proto)

    return export


def test_right_segment_passes(segment):
    result = check_segment(export_segment(*segment), segment[1], [sample_of(model, X)])
    assert result.passed
    assert result.worst < 1e-6
    assert [found.tensor for found in result.differences] == [s.name for s in segment[1].outputs]


def test_wrong_output_is_named_with_its_difference(segment):
    onnx_model = broken_export("Tanh", "Sin")(*segment)
    result = check_segment(onnx_model, segment[1], [sample_of(model, X)])
    assert not result.passed
    assert result.worst > 0.1
    assert result.reason.startswith("output Identity:0: it differs by")


def test_worst_of_several_samples_counts(segment):
    good, bad = sample_of(model, X), sample_of(model, X)
    bad = Sample(bad.inputs, (bad.outputs[0] + 1, bad.outputs[1]))
    result = check_segment(export_segment(*segment), segment[1], [good, bad, good])
    assert not result.passed


def test_only_the_wrong_node_is_blamed(segment):
    export = broken_export("Tanh", "Sin")
    sample = sample_of(model, X)
    result = verify_segment(*segment, export(*segment), [sample], export)
    assert list(result.refusals) == ["squash"]
    refusal = result.refusals["squash"]
    assert refusal.rule == "check"
    assert refusal.reason.startswith(
        "Tanh 'squash': its ONNX form gives another result, it differs"
    )


def test_fault_between_nodes_is_blamed_on_the_end_of_the_pattern(segment):
    """Right node by node, wrong where `squash` follows `product`."""

    def export(graph, segment):
        whole = {"product", "squash"} <= set(segment.nodes)
        together = whole and not any(spec.name.startswith("fed__") for spec in segment.inputs)
        return (broken_export("Tanh", "Sin") if together else export_segment)(graph, segment)

    sample = sample_of(model, X)
    result = verify_segment(*segment, export(*segment), [sample], export)
    assert list(result.refusals) == ["squash"]


def test_nobody_is_blamed_for_a_right_segment(segment):
    sample = sample_of(model, X)
    values = native_values(*segment, sample)
    assert wrong_apart(*segment, values, export_segment) == {}
    assert wrong_together(*segment, sample, values, export_segment) == {}


def slightly_off(offset):
    """Export with a constant moved, where the nodes are together: as if rounding had added up."""

    def export(graph, segment):
        exported = export_segment(graph, segment)
        if not any(spec.name.startswith("fed__") for spec in segment.inputs):
            for tensor in exported.proto.graph.initializer:
                value = onnx.numpy_helper.to_array(tensor)
                if value.ndim == 0 and value == 1:
                    moved = onnx.numpy_helper.from_array(value + np.float32(offset), tensor.name)
                    tensor.CopyFrom(moved)
        return exported

    return export


@pytest.mark.parametrize(("offset", "passed"), [(1e-6, True), (4e-4, True), (4e-2, False)])
def test_rounding_that_adds_up_is_accepted_to_a_bound(segment, offset, passed):
    export = slightly_off(offset)
    sample = sample_of(model, X)
    onnx_model = export(*segment)
    result = verify_segment(*segment, onnx_model, [sample], export)
    assert result.passed is passed
    assert result.bound == (1e-3 if offset == 4e-4 else 1e-5)
    assert check_segment(onnx_model, segment[1], [sample]).passed is (offset == 1e-6)


def test_rounding_of_a_gpu_is_no_fault(segment):
    """Its outputs are off where those of TensorFlow on the CPU aren't."""
    sample = sample_of(model, X)
    rounded = Sample(sample.inputs, (sample.outputs[0] * np.float32(1.002), sample.outputs[1]))
    onnx_model = export_segment(*segment)
    assert not check_segment(onnx_model, segment[1], [rounded]).passed
    result = verify_segment(*segment, onnx_model, [rounded], export_segment)
    assert result.passed
    assert result.bound == 1e-5


def test_what_onnx_runtime_refuses_is_reported(segment):
    export = broken_export("Tanh", "NoSuchOp")
    result = verify_segment(*segment, export(*segment), [sample_of(model, X)], export)
    assert not result.passed
    assert "NoSuchOp" in result.reason
