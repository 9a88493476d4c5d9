"""Keras layers, in inference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tests.op_matrix.case import Case, case, f32, i32

X = f32(3, 4)
SEQUENCE = f32(2, 5, 4)
IMAGE = f32(2, 8, 8, 4)


def layer(make: Callable, x: np.ndarray) -> Case:
    """A Keras layer with seeded weights, in inference."""

    def build(x: tf.Tensor) -> tf.Tensor:
        return built(x, training=False) if takes_training else built(x)

    tf.keras.utils.set_random_seed(7)
    built = make(tf.keras.layers)
    takes_training = "training" in getattr(built, "_call_signature", ()).parameters
    built(tf.constant(x))
    return case(build, x)


LAYERS = {
    "dense": (X, lambda k: k.Dense(6, "relu")),
    "einsum_dense": (SEQUENCE, lambda k: k.EinsumDense("abc,cd->abd", [None, 6], bias_axes="d")),
    "conv2d": (IMAGE, lambda k: k.Conv2D(6, 3, 2, "same", activation="gelu")),
    "conv2d_groups": (IMAGE, lambda k: k.Conv2D(6, 3, groups=2)),
    "conv2d_transpose": (IMAGE, lambda k: k.Conv2DTranspose(6, 3, 2, "same")),
    "depthwise": (IMAGE, lambda k: k.DepthwiseConv2D(3, 2, "same")),
    "separable": (IMAGE, lambda k: k.SeparableConv2D(6, 3)),
    "batch_norm": (IMAGE, lambda k: k.BatchNormalization()),
    "layer_norm": (SEQUENCE, lambda k: k.LayerNormalization()),
    "layer_norm_2_axes": (IMAGE, lambda k: k.LayerNormalization(axis=[2, 3])),
    "group_norm": (IMAGE, lambda k: k.GroupNormalization(2)),
    "unit_norm": (SEQUENCE, lambda k: k.UnitNormalization()),
    "rms_norm": (SEQUENCE, lambda k: k.RMSNormalization()),
    "spectral_norm": (IMAGE, lambda k: k.SpectralNormalization(k.Conv2D(3, 3))),
    "normalization": (X, lambda k: k.Normalization(mean=[0.0, 1, 2, 3], variance=[1.0, 2, 3, 4])),
    "prelu": (SEQUENCE, lambda k: k.PReLU()),
    "leaky_relu": (X, lambda k: k.LeakyReLU()),
    "up_sampling": (IMAGE, lambda k: k.UpSampling2D(2)),
    "up_sampling_bilinear": (IMAGE, lambda k: k.UpSampling2D(2, interpolation="bilinear")),
    "zero_padding": (IMAGE, lambda k: k.ZeroPadding2D(((1, 0), (2, 1)))),
    "cropping": (IMAGE, lambda k: k.Cropping2D(((1, 0), (2, 1)))),
    "global_pool": (IMAGE, lambda k: k.GlobalAveragePooling2D()),
    "average_pool": (IMAGE, lambda k: k.AveragePooling2D(3, 2, "same")),
    "rescaling": (IMAGE, lambda k: k.Rescaling(1 / 255, 0.5)),
    "resizing": (IMAGE, lambda k: k.Resizing(5, 12)),
    "center_crop": (IMAGE, lambda k: k.CenterCrop(4, 6)),
    "attention": (SEQUENCE, lambda k: SelfAttention(k.Attention())),
    "additive_attention": (SEQUENCE, lambda k: SelfAttention(k.AdditiveAttention())),
    "multi_head_attention": (SEQUENCE, lambda k: QueryAndValue(k.MultiHeadAttention(2, 3))),
    "causal_attention": (
        SEQUENCE,
        lambda k: QueryAndValue(k.MultiHeadAttention(2, 3), use_causal_mask=True),
    ),
    "grouped_query_attention": (SEQUENCE, lambda k: QueryAndValue(k.GroupQueryAttention(3, 4, 2))),
    "lstm_unrolled": (SEQUENCE, lambda k: k.LSTM(3, unroll=True)),
    "gru_unrolled": (SEQUENCE, lambda k: k.GRU(3, unroll=True)),
    "simple_rnn_unrolled": (SEQUENCE, lambda k: k.SimpleRNN(3, unroll=True)),
    "embedding": (i32(3, 4, low=0, high=50), lambda k: k.Embedding(50, 8)),
    "discretization": (X, lambda k: k.Discretization(bin_boundaries=[-1.0, 0.0, 1.0])),
    "category_encoding": (
        i32(3, 4, low=0, high=6),
        lambda k: k.CategoryEncoding(6, output_mode="multi_hot"),
    ),
    "permute": (SEQUENCE, lambda k: k.Permute([2, 1])),
    "repeat_vector": (X, lambda k: k.RepeatVector(3)),
    "flatten": (IMAGE, lambda k: k.Flatten()),
    "softmax": (SEQUENCE, lambda k: k.Softmax(axis=1)),
    "dropout": (X, lambda k: k.Dropout(0.5)),
}


class SelfAttention(tf.keras.layers.Layer):
    """Attention layers that take a list."""

    def __init__(self, inner: tf.keras.layers.Layer) -> None:
        super().__init__()
        self.inner = inner

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.inner([x, x])


class QueryAndValue(tf.keras.layers.Layer):
    """Attention layers that take query and value."""

    def __init__(self, inner: tf.keras.layers.Layer, **options: bool) -> None:
        super().__init__()
        self.inner, self.options = inner, options

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.inner(x, x, **self.options)


CASES = {f"keras.{name}": layer(make, x) for name, (x, make) in LAYERS.items()}
