"""Each family: what converts, what is refused and why, and where the line runs."""

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import trace
from tftrt_toolkit.support import SupportRules, support_map

raw = tf.raw_ops
IMAGE = ([None, 8, 8, 4], tf.float32)
MATRIX = ([None, 4], tf.float32)
INDEX = ([], tf.int32)
KERNEL = np.ones([3, 3, 4, 2], np.float32)


def reason(function, *specs):
    """Why the node named `n` is refused, or None."""
    graph = trace(function, *specs)
    assert any(node.name == "n" for node in graph.graph_def.node), "no node is named n"
    refusal = support_map(graph, SupportRules(dynamic_shape=True)).get("n")
    return refusal and refusal.reason


CONVERTS = {
    "arithmetic": (lambda x, y: tf.add(x, y, name="n"), MATRIX, MATRIX),
    "integer floor division": (
        lambda x, y: raw.FloorDiv(x=x, y=y, name="n"),
        ([4], tf.int32),
        ([4], tf.int32),
    ),
    "half": (lambda x: tf.exp(x, name="n"), ([2], tf.float16)),
    "exact GELU's Erfc": (lambda x: raw.Erfc(x=x, name="n"), MATRIX),
    "log1p": (lambda x: tf.math.log1p(x, name="n"), MATRIX),
    "expm1": (lambda x: tf.math.expm1(x, name="n"), MATRIX),
    "comparison": (lambda x, y: tf.less(x, y, name="n"), MATRIX, MATRIX),
    "selection": (
        lambda c, x: tf.raw_ops.SelectV2(condition=c, t=x, e=x, name="n"),
        ([None, 1], tf.bool),
        MATRIX,
    ),
    "cast to bool": (lambda x: tf.cast(x, tf.bool, name="n"), MATRIX),
    "sum over a constant axis": (lambda x: tf.reduce_sum(x, 1, name="n"), MATRIX),
    "top k": (lambda x: raw.TopKV2(input=x, k=3, name="n"), MATRIX),
    "top k at TensorRT's limit": (
        lambda x: raw.TopKV2(input=x, k=3840, name="n"),
        ([2, 4000], tf.float32),
    ),
    "reshape to a shape": (
        lambda x, y: tf.reshape(x, tf.shape(y), name="n"),
        MATRIX,
        MATRIX,
    ),
    "fill with a shape": (lambda x: raw.Fill(dims=tf.shape(x), value=1.0, name="n"), MATRIX),
    "range of a dimension": (lambda x: tf.range(tf.shape(x)[0], name="n"), MATRIX),
    "squeeze with an axis": (lambda x: tf.squeeze(x, [1], name="n"), ([None, 1], tf.float32)),
    "squeeze of a static shape": (lambda x: tf.squeeze(x, name="n"), ([3, 1], tf.float32)),
    "concat": (lambda x: tf.concat([x, x], 1, name="n"), MATRIX),
    "slice to a dimension": (
        lambda x: tf.slice(x, [0, 1], tf.stack([tf.shape(x)[0], 2]), name="n"),
        MATRIX,
    ),
    "reflect padding": (
        lambda x: raw.MirrorPad(input=x, paddings=[[0, 0], [1, 1]], mode="REFLECT", name="n"),
        MATRIX,
    ),
    "main diagonal": (
        lambda x: raw.MatrixDiagPartV3(input=x, k=0, padding_value=0.0, name="n"),
        ([None, 4, 4], tf.float32),
    ),
    "gather": (
        lambda x, i: raw.GatherV2(params=x, indices=i, axis=1, name="n"),
        MATRIX,
        ([None], tf.int64),
    ),
    "scatter to distinct rows": (
        lambda x: tf.scatter_nd([[0], [2]], x, [4, 4], name="n"),
        ([2, 4], tf.float32),
    ),
    "one hot": (lambda i: tf.one_hot(i, 4, axis=0, name="n"), ([None], tf.int32)),
    "matmul": (lambda x, y: tf.matmul(x, y, name="n"), MATRIX, ([4, 2], tf.float32)),
    "einsum": (
        lambda x, y: raw.Einsum(inputs=[x, y], equation="ij,jk->ik", name="n"),
        MATRIX,
        ([4, 2], tf.float32),
    ),
    "conv": (lambda x: tf.nn.conv2d(x, KERNEL, 1, "SAME", name="n"), IMAGE),
    "conv of any height and width": (
        lambda x: tf.nn.conv2d(x, KERNEL, 2, "SAME", name="n"),
        ([None, None, None, 4], tf.float32),
    ),
    "transposed conv to a batch's shape": (
        lambda x: raw.Conv2DBackpropInput(
            input_sizes=tf.stack([tf.shape(x)[0], 16, 16, 2]),
            filter=KERNEL.transpose(0, 1, 3, 2),
            out_backprop=x,
            strides=[1, 2, 2, 1],
            padding="SAME",
            name="n",
        ),
        IMAGE,
    ),
    "pooling": (lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME", name="n"), IMAGE),
    "resize to twice the size": (
        lambda x: raw.ResizeBilinear(images=x, size=tf.shape(x)[1:3] * 2, name="n"),
        IMAGE,
    ),
    "nearest resize by whole factors": (
        lambda x: raw.ResizeNearestNeighbor(
            images=x, size=[16, 24], half_pixel_centers=True, name="n"
        ),
        IMAGE,
    ),
    "quantize and dequantize": (
        lambda x: raw.QuantizeAndDequantizeV2(
            input=x, input_min=-1.0, input_max=1.0, range_given=True, name="n"
        ),
        MATRIX,
    ),
}


@pytest.mark.parametrize("case", CONVERTS)
def test_converts(case):
    assert reason(*CONVERTS[case]) is None


def batch_norm(training, factor=1.0, outputs=1):
    def function(x):
        one = tf.ones([0 if training and factor == 1.0 else 4])
        found = raw.FusedBatchNormV3(
            x=x,
            scale=tf.ones([4]),
            offset=tf.ones([4]),
            mean=one,
            variance=one,
            is_training=training,
            exponential_avg_factor=factor,
            name="n",
        )
        return tuple(found)[:outputs]

    return function


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_converts_with_its_own_or_with_given_statistics(training):
    assert reason(batch_norm(training), IMAGE) is None


REFUSED = {
    "computed axis": (
        lambda x, i: tf.reduce_sum(x, i, keepdims=True, name="n"),
        MATRIX,
        INDEX,
        "axis is not a constant",
    ),
    "computed k": (
        lambda x, k: raw.TopKV2(input=x, k=k, name="n"),
        MATRIX,
        INDEX,
        "output shape depends on data: k is computed",
    ),
    "k beyond TensorRT's limit": (
        lambda x: raw.TopKV2(input=x, k=3841, name="n"),
        ([2, 4000], tf.float32),
        "k=3841 is more than TensorRT's 3840",
    ),
    "computed shape": (
        lambda x, s: tf.reshape(x, s, name="n"),
        MATRIX,
        ([2], tf.int32),
        "output shape depends on data: shape is computed",
    ),
    "computed bounds": (
        lambda x, i: tf.slice(x, tf.stack([0, i]), [-1, 2], name="n"),
        MATRIX,
        INDEX,
        "output shape depends on data: begin is computed",
    ),
    "squeeze of what is 1 at run time": (
        lambda x: tf.squeeze(x, name="n"),
        ([None, 1], tf.float32),
        "the rank of n:0 is unknown",
    ),
    "integer matmul": (
        lambda x: tf.matmul(x, x, name="n"),
        ([2, 2], tf.int32),
        "MatMul converts for float16, float32, not for int32",
    ),
    "mean of integers": (
        lambda x: raw.Mean(input=x, axis=1, name="n"),
        ([2, 2], tf.int32),
        "Mean converts for float16, float32, not for int32",
    ),
    "rows picked by a vector": (
        lambda c, x: raw.Select(condition=c, x=x, y=x, name="n"),
        ([2], tf.bool),
        ([2, 4], tf.float32),
        "a condition of another rank than the branches picks whole rows",
    ),
    "truncating cast": (
        lambda x: raw.Cast(x=x, DstT=tf.float16, Truncate=True, name="n"),
        MATRIX,
        "Truncate=True cuts floats off where TensorRT rounds them",
    ),
    "symmetric padding": (
        lambda x: raw.MirrorPad(input=x, paddings=[[0, 0], [1, 1]], mode="SYMMETRIC", name="n"),
        MATRIX,
        "mode=SYMMETRIC doesn't convert, only REFLECT",
    ),
    "another diagonal": (
        lambda x: raw.MatrixDiagPartV3(input=x, k=1, padding_value=0.0, name="n"),
        ([None, 4, 4], tf.float32),
        "only the main diagonal (k=0) converts",
    ),
    "scatter to repeated rows": (
        lambda x: tf.scatter_nd([[0], [0]], x, [4, 4], name="n"),
        ([2, 4], tf.float32),
        "indices repeat, and TensorRT's ScatterND doesn't add",
    ),
    "scatter to computed rows": (
        lambda x, i: tf.scatter_nd(i, x, [4, 4], name="n"),
        ([2, 4], tf.float32),
        ([2, 1], tf.int32),
        "indices may repeat, and TensorRT's ScatterND doesn't add",
    ),
    "adding scatter": (
        lambda x, i: raw.TensorScatterAdd(tensor=x, indices=i, updates=x, name="n"),
        ([2, 4], tf.float32),
        ([2, 1], tf.int32),
        "TensorRT's ScatterND overwrites, it doesn't add or compare",
    ),
    "unknown channels": (
        lambda x, k: tf.nn.conv2d(x, k, 1, "SAME", name="n"),
        ([None, 8, 8, None], tf.float32),
        ([3, 3, None, 2], tf.float32),
        "the number of channels or the kernel's size is unknown",
    ),
    "pooling over the batch": (
        lambda x: raw.AvgPool(
            value=x, ksize=[1, 2, 2, 2], strides=[1, 1, 1, 1], padding="SAME", name="n"
        ),
        IMAGE,
        "TensorRT doesn't pool over the batch or over channels",
    ),
    "batch norm that blends statistics": (
        batch_norm(True, 0.5),
        IMAGE,
        "is_training=True blends statistics, as only training needs",
    ),
    "batch norm's statistics used": (
        batch_norm(False, outputs=2),
        IMAGE,
        "batch statistics are used, and engines don't yield them",
    ),
    "nearest resize by a fraction": (
        lambda x: raw.ResizeNearestNeighbor(
            images=x, size=[16, 13], half_pixel_centers=True, name="n"
        ),
        IMAGE,
        "TensorRT takes no half pixel centers here, except to grow by whole factors",
    ),
    "resize by area": (
        lambda x: raw.ResizeArea(images=x, size=[16, 13], name="n"),
        IMAGE,
        "its ONNX form gives another result",
    ),
    "4 bits": (
        lambda x: raw.QuantizeAndDequantizeV2(
            input=x, input_min=-1.0, input_max=1.0, range_given=True, num_bits=4, name="n"
        ),
        MATRIX,
        "TensorRT quantizes to signed 8 bits, half to even, a range given",
    ),
    "bitwise and": (
        lambda x: raw.BitwiseAnd(x=x, y=x, name="n"),
        ([2], tf.int32),
        "TensorRT has no bitwise operations",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    *call, wanted = REFUSED[case]
    assert reason(*call) == wanted
