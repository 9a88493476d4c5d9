"""Shapes, slices, gathers, scatters, reductions, sorting and segments."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.op_matrix.case import Case, boolean, case, const, f32, i32, i64

X = f32(3, 4)
CUBE = f32(2, 3, 4)
IMAGE = f32(2, 6, 6, 3)
ROWS = i32(3, low=0, high=5)
REDUCTIONS = {
    "all": lambda x: tf.reduce_all(x > 0, axis=1),
    "any": lambda x: tf.reduce_any(x > 1, axis=1),
    "euclidean_norm": lambda x: tf.math.reduce_euclidean_norm(x, axis=1),
    "logsumexp": lambda x: tf.reduce_logsumexp(x, axis=1),
    "max": lambda x: tf.reduce_max(x, axis=1),
    "max_keepdims": lambda x: tf.reduce_max(x, axis=[1, 2], keepdims=True),
    "mean": lambda x: tf.reduce_mean(x, axis=1),
    "mean_all": lambda x: tf.reduce_mean(x) + x,
    "mean_negative_axis": lambda x: tf.reduce_mean(x, axis=-1),
    "min": lambda x: tf.reduce_min(x, axis=-1),
    "norm": lambda x: tf.norm(x, axis=-1),
    "norm_l1": lambda x: tf.norm(x, ord=1, axis=-1),
    "prod": lambda x: tf.reduce_prod(x, axis=1),
    "std": lambda x: tf.math.reduce_std(x, axis=1),
    "sum": lambda x: tf.reduce_sum(x, axis=[0, 2]),
    "sum_keepdims": lambda x: tf.reduce_sum(x, axis=1, keepdims=True),
    "variance": lambda x: tf.math.reduce_variance(x, axis=1),
    "argmax": lambda x: tf.argmax(x, axis=-1),
    "argmax_int32": lambda x: tf.argmax(x, axis=1, output_type=tf.int32),
    "argmin": lambda x: tf.argmin(x, axis=1),
    "count_nonzero": lambda x: tf.math.count_nonzero(tf.nn.relu(x), axis=1),
    "cumsum": lambda x: tf.cumsum(x, axis=1),
    "cumsum_exclusive": lambda x: tf.cumsum(x, axis=1, exclusive=True),
    "cumsum_reverse": lambda x: tf.cumsum(x, axis=-1, reverse=True),
    "cumprod": lambda x: tf.math.cumprod(x, axis=1),
    "cumulative_logsumexp": lambda x: tf.math.cumulative_logsumexp(x, axis=1),
    "moments": lambda x: tf.nn.moments(x, [1])[1],
    "in_top_k": lambda x: tf.math.in_top_k(tf.constant([0, 1]), x[:2, :, 0], 2),
}
SHAPING = {
    "broadcast_to": lambda x: tf.broadcast_to(x[:, :1], [2, 5, 4]),
    "concat": lambda x: tf.concat([x, x + 1], axis=1),
    "concat_const": lambda x: tf.concat([x, const(2, 3, 2)], axis=-1),
    "ensure_shape": lambda x: tf.ensure_shape(x, [None, 3, 4]),
    "expand_dims": lambda x: tf.expand_dims(x, 1),
    "expand_dims_last": lambda x: tf.expand_dims(x, -1),
    "fill": lambda x: tf.fill(tf.shape(x), 3.0) + x,
    "flatten": lambda x: tf.reshape(x, [tf.shape(x)[0], -1]),
    "identity": lambda x: tf.identity(x) + 0.0,
    "linspace": lambda x: x + tf.linspace(0.0, 1.0, 4),
    "matrix_band_part": lambda x: tf.linalg.band_part(x, 1, 0),
    "matrix_diag": lambda x: tf.linalg.diag(x),
    "matrix_diag_part": lambda x: tf.linalg.diag_part(x),
    "matrix_set_diag": lambda x: tf.linalg.set_diag(x, x[:, :, 0]),
    "trace": lambda x: tf.linalg.trace(x),
    "eye": lambda x: x[:, :, :3] + tf.eye(3),
    "meshgrid": lambda x: tf.meshgrid(x[0, 0], x[0, 1])[1],
    "ones_like": lambda x: tf.ones_like(x) + x,
    "pad_constant": lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]], constant_values=1.5),
    "pad_reflect": lambda x: tf.pad(x, [[0, 0], [1, 1], [2, 1]], mode="REFLECT"),
    "pad_symmetric": lambda x: tf.pad(x, [[0, 0], [1, 1], [0, 2]], mode="SYMMETRIC"),
    "range": lambda x: x + tf.range(4, dtype=tf.float32),
    "range_dynamic": lambda x: x + tf.cast(tf.range(tf.shape(x)[0]), tf.float32)[:, None, None],
    "rank": lambda x: x + tf.cast(tf.rank(x), tf.float32),
    "repeat": lambda x: tf.repeat(x, 2, axis=1),
    "reshape": lambda x: tf.reshape(x, [-1, 12]),
    "reverse": lambda x: tf.reverse(x, axis=[1, -1]),
    "roll": lambda x: tf.roll(x, shift=[1, -2], axis=[1, 2]),
    "roll_beyond": lambda x: tf.roll(x, shift=5, axis=1),
    "shape": lambda x: tf.shape(x) + 0,
    "shape_int64": lambda x: tf.shape(x, out_type=tf.int64) * 2,
    "shape_n": lambda x: tf.shape_n([x, x])[1] + 0,
    "size": lambda x: tf.size(x) + 1,
    "slice": lambda x: tf.slice(x, [0, 1, 0], [-1, 2, 3]),
    "split": lambda x: tf.split(x, 2, axis=2),
    "split_sizes": lambda x: tf.split(x, [1, -1], axis=2),
    "squeeze": lambda x: tf.squeeze(x[:, :1], axis=1),
    "stack": lambda x: tf.stack([x, x * 2], axis=1),
    "stop_gradient": lambda x: tf.stop_gradient(x) + 1,
    "strided_slice": lambda x: x[:, 1:, ::2],
    "strided_slice_ellipsis": lambda x: x[..., 1],
    "strided_slice_negative": lambda x: x[:, ::-1, -3:-1],
    "strided_slice_new_axis": lambda x: x[:, None, 1, ..., None],
    "strided_slice_dynamic": lambda x: x[:, : tf.shape(x)[0]],
    "tile": lambda x: tf.tile(x, [1, 2, 3]),
    "transpose": lambda x: tf.transpose(x, [0, 2, 1]),
    "transpose_default": lambda x: tf.transpose(x),
    "unstack": lambda x: tf.unstack(x, axis=1)[1],
    "zeros_like": lambda x: tf.zeros_like(x) - x,
}


CASES: dict[str, Case] = {}
CASES |= {f"reduce.{name}": case(f, CUBE) for name, f in REDUCTIONS.items()}
CASES |= {f"shape.{name}": case(f, CUBE) for name, f in SHAPING.items()}
CASES |= {
    "reduce.sum_int": case(lambda x: tf.reduce_sum(x, axis=1), i32(3, 4)),
    "reduce.max_int64": case(lambda x: tf.reduce_max(x, axis=1), i64(3, 4)),
    "reduce.prod_int": case(lambda x: tf.reduce_prod(x, axis=1), i32(3, 4)),
    "reduce.mean_int": case(lambda x: tf.reduce_mean(x, axis=1), i32(3, 4)),
    "reduce.argmax_int": case(lambda x: tf.argmax(x, axis=1), i32(3, 4, low=0, high=999)),
    "reduce.cumsum_int": case(lambda x: tf.cumsum(x, axis=0), i32(3, 4)),
    "reduce.bincount": case(
        lambda x: tf.math.bincount(x, minlength=10, maxlength=10), i32(8, low=0, high=10)
    ),
    "reduce.all_axes_any": case(lambda x: tf.reduce_any(x), boolean(3, 4)),
    "gather.axis0": case(lambda x, i: tf.gather(x, i), f32(5, 4), ROWS),
    "gather.axis1": case(lambda x, i: tf.gather(x, i % 4, axis=1), X, ROWS),
    "gather.batch_dims": case(
        lambda x, i: tf.gather(x, i, batch_dims=1), X, i32(3, 2, low=0, high=4)
    ),
    "gather.nd": case(tf.gather_nd, X, i32(5, 2, low=0, high=3)),
    "gather.nd_batch": case(
        lambda x, i: tf.gather_nd(x, i, batch_dims=1), X, i32(3, 2, 1, low=0, high=4)
    ),
    "gather.embedding": case(
        lambda i: tf.nn.embedding_lookup(const(50, 8), i), i32(3, 4, low=0, high=50)
    ),
    "gather.embedding_int64": case(lambda i: tf.gather(const(50, 8), i), i64(3, 4, low=0, high=50)),
    "gather.embedding_large": case(
        lambda i: tf.gather(const(600, 8), i), i32(3, 4, low=0, high=600)
    ),
    "gather.boolean_mask": case(tf.boolean_mask, X, boolean(3)),
    "gather.take_along_axis": case(
        lambda x, i: tf.experimental.numpy.take_along_axis(x, i, axis=1),
        X,
        i32(3, 2, low=0, high=4),
    ),
    "scatter.nd": case(lambda u: tf.scatter_nd([[1], [4], [0]], u, [6, 4]), X, static=True),
    "scatter.nd_duplicates": case(
        lambda i, u: tf.scatter_nd(i, u, [6, 4]), np.int32([[1], [4], [1]]), X
    ),
    "scatter.nd_add": case(
        lambda t, i, u: tf.tensor_scatter_nd_add(t, i, u),
        f32(6, 4, seed=4),
        np.int32([[1], [4], [1]]),
        X,
    ),
    "scatter.nd_sub": case(
        lambda t, i, u: tf.tensor_scatter_nd_sub(t, i, u),
        f32(6, 4, seed=4),
        np.int32([[1], [4], [1]]),
        X,
    ),
    "scatter.nd_max": case(
        lambda t, i, u: tf.tensor_scatter_nd_max(t, i, u),
        f32(6, 4, seed=4),
        np.int32([[1], [4], [1]]),
        X,
    ),
    "scatter.nd_update": case(
        lambda t, i, u: tf.tensor_scatter_nd_update(t, i, u),
        f32(6, 4, seed=4),
        np.int32([[1], [4], [2]]),
        X,
    ),
    "one_hot": case(lambda i: tf.one_hot(i, 5), ROWS),
    "one_hot.negative": case(lambda i: tf.one_hot(i, 5), np.int32([0, -1, 7, 4])),
    "one_hot.axis0": case(lambda i: tf.one_hot(i, 5, axis=0), i32(3, 2, low=-1, high=5)),
    "one_hot.values": case(
        lambda i: tf.one_hot(i, 5, on_value=2, off_value=-3, dtype=tf.int32), ROWS
    ),
    "one_hot.int64": case(
        lambda i: tf.one_hot(i, 5, True, False, dtype=tf.bool), i64(3, low=0, high=5)
    ),
    "one_hot.uint8": case(lambda i: tf.one_hot(i, 5), np.uint8([0, 3, 200])),
    "sort.top_k": case(lambda x: tf.math.top_k(x, 2), X),
    "sort.top_k_values": case(lambda x: tf.math.top_k(x, 2).values, X),
    "sort.top_k_int": case(lambda x: tf.math.top_k(x, 2), i32(3, 4, low=0, high=999)),
    "sort.sort": case(lambda x: tf.sort(x, axis=-1), X),
    "sort.argsort_descending": case(lambda x: tf.argsort(x, direction="DESCENDING"), X),
    "sort.searchsorted": case(
        lambda x: tf.searchsorted(tf.constant([-1.5, -0.2, 0.4, 1.0]), x[0]), X
    ),
    "sort.searchsorted_right": case(
        lambda x: tf.searchsorted([-1.0, 0.0, 1.0], x[0], side="right"), X
    ),
    "sort.bucketize": case(lambda x: tf.raw_ops.Bucketize(input=x, boundaries=[-1.0, 0.0, 0.5]), X),
    "sort.unique": case(lambda x: tf.unique(x).y, i32(8, low=0, high=4)),
    "segment.sum": case(lambda x: tf.math.segment_sum(x, [0, 0, 2]), X, static=True),
    "segment.mean_gap": case(lambda x: tf.math.segment_mean(x, [0, 0, 2]), X, static=True),
    "segment.max_gap": case(lambda x: tf.math.segment_max(x, [0, 0, 2]), X, static=True),
    "segment.unsorted_sum": case(
        lambda x, s: tf.math.unsorted_segment_sum(x, s, 4), X, np.int32([2, 0, 2])
    ),
    "segment.unsorted_max": case(
        lambda x, s: tf.math.unsorted_segment_max(x, s, 4), X, np.int32([2, 0, 2])
    ),
    "segment.sparse_mean_gap": case(
        lambda x: tf.sparse.segment_mean(x, [0, 2, 1], [0, 0, 2]), X, static=True
    ),
    "segment.sparse_sqrt_n_gap": case(
        lambda x: tf.sparse.segment_sqrt_n(x, [0, 2, 1], [0, 0, 2]), X, static=True
    ),
    "segment.sparse_sum": case(
        lambda x: tf.sparse.segment_sum(x, [0, 2, 1], [0, 0, 2]), X, static=True
    ),
    "shape.sequence_mask": case(lambda n: tf.sequence_mask(n, 6), i32(3, low=0, high=7)),
    "shape.reverse_sequence": case(
        lambda x, n: tf.reverse_sequence(x, n, seq_axis=1), X, i32(3, low=1, high=4)
    ),
    "shape.broadcast_args": case(lambda x: tf.broadcast_dynamic_shape(tf.shape(x), [3, 1]) + 0, X),
    "shape.space_to_batch": case(
        lambda x: tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]), IMAGE, static=True
    ),
    "shape.batch_to_space": case(
        lambda x: tf.batch_to_space(tf.concat([x, x], 0), [2, 2], [[0, 0], [1, 0]]),
        IMAGE,
        static=True,
    ),
    "shape.depth_to_space": case(lambda x: tf.nn.depth_to_space(x, 2), f32(2, 3, 3, 8)),
    "shape.space_to_depth": case(lambda x: tf.nn.space_to_depth(x, 2), IMAGE),
    "shape.scalar_input": case(lambda s, x: x * s, np.float32(3), X),
    "shape.tensor_diag": case(lambda x: tf.linalg.tensor_diag(x[0]), X),
    "shape.diag_offset": case(lambda x: tf.linalg.diag(x, k=1), X),
    "shape.invert_permutation": case(tf.math.invert_permutation, np.int32([2, 0, 1])),
}
