"""The handlers' machinery and forms; what they compute is compared in tests/op_matrix."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tests.segments import freeze
from tftrt_toolkit.errors import ExportError
from tftrt_toolkit.export import HANDLED_OPS, REFUSED_OPS, export_segment
from tftrt_toolkit.export.handlers.registry import HANDLERS, maps

FLOATS = tf.TensorSpec([None, 4], tf.float32, name="x")
INTEGERS = tf.TensorSpec([None, 4], tf.int32, name="x")
PLACES = tf.TensorSpec([3], tf.int32, name="i")


def ops(function, *specs):
    return Counter(
        node.op_type for node in export_segment(*freeze(function, specs)).proto.graph.node
    )


@pytest.mark.parametrize(
    ("function", "spec", "expected"),
    [
        (tf.math.erfc, FLOATS, {"Erf": 1, "Sub": 1}),
        (tf.math.expm1, FLOATS, {"Mul": 2, "Tanh": 1, "Exp": 1, "Add": 1}),
        (lambda x: tf.math.floordiv(x, 3), INTEGERS, {"Mod": 1, "Sub": 1, "Div": 1}),
        (lambda x: tf.math.floormod(x, 3), INTEGERS, {"Mod": 1}),
        (lambda x: tf.truncatediv(x, 3), INTEGERS, {"Div": 1}),
        (lambda x: tf.maximum(x, 3), INTEGERS, {"Max": 1}),
        (lambda x: tf.nn.l2_loss(x), FLOATS, {"ReduceSumSquare": 1, "Mul": 1}),
        (lambda x: tf.clip_by_value(x, 1.0, 2.0), FLOATS, {"Max": 1, "Min": 1}),
    ],
)
def test_forms(function, spec, expected):
    assert ops(function, spec) == expected


def test_scatter_adds_up_only_where_rows_may_repeat():
    """TensorRT has no ScatterND that reduces, so unique rows get the plain one."""

    def reductions(function, *specs):
        model = export_segment(*freeze(function, specs))
        scatter = next(node for node in model.proto.graph.node if node.op_type == "ScatterND")
        return [a.s for a in scatter.attribute if a.name == "reduction"]

    update = tf.TensorSpec([3, 4], tf.float32)
    unique = lambda u: tf.scatter_nd([[1], [4], [0]], u, [6, 4])  # noqa: E731
    repeated = lambda u: tf.scatter_nd([[1], [4], [1]], u, [6, 4])  # noqa: E731
    unknown = lambda u, i: tf.scatter_nd(i[:, None], u, [6, 4])  # noqa: E731
    assert reductions(unique, update) in ([], [b"none"])
    assert reductions(repeated, update) == [b"add"]
    assert reductions(unknown, update, PLACES) == [b"add"]


def test_an_op_may_have_one_mapping_only():
    before = dict(HANDLERS)
    with pytest.raises(ValueError, match="Erfc is mapped twice"):
        maps("Erfc")(lambda r: None)
    assert before == HANDLERS


def test_tf2onnx_is_left_as_it_was():
    from tf2onnx.handler import tf_op

    export_segment(*freeze(tf.math.erfc, [FLOATS]))
    opsets = tf_op.get_opsets()
    before = {domain: [dict(ops) for ops in versions] for domain, versions in opsets.items()}
    export_segment(*freeze(tf.math.erfc, [FLOATS]))
    with pytest.raises(ExportError):
        export_segment(*freeze(lambda x: tf.math.segment_max(x, [0, 0, 1]), [FLOATS]))
    assert before == {d: [dict(ops) for ops in versions] for d, versions in opsets.items()}
    assert "Erfc" not in {name for versions in opsets.values() for ops in versions for name in ops}


def test_a_refusal_names_node_and_reason():
    with pytest.raises(ExportError) as caught:
        export_segment(
            *freeze(
                lambda x: tf.raw_ops.ResizeArea(images=x, size=[2, 2], name="shrink"),
                [tf.TensorSpec([1, 4, 4, 3], tf.float32)],
            )
        )
    assert caught.value.nodes == ("shrink",)
    assert "ONNX has no resizing by area" in caught.value.reason


def test_lists_of_ops():
    assert {"Erfc", "Log1p", "Expm1", "L2Loss", "EuclideanNorm", "OneHot"} <= HANDLED_OPS
    assert {"SegmentMean", "ResizeArea", "AdjustSaturation"} <= REFUSED_OPS


def test_a_log1p_that_tf2onnx_would_lose_is_exact():
    graph, segment = freeze(tf.math.log1p, [FLOATS])
    from tftrt_toolkit.onnx_model import run_session, to_session

    model = export_segment(graph, segment)
    x = np.float32([[1e-8, -1e-8, 3e-5, 1e-3]])
    (actual,) = run_session(to_session(model), model, [x])
    np.testing.assert_allclose(actual, np.log1p(x.astype(np.float64)), rtol=3e-7)
