"""Transformers and a recurrent network, with a dynamic batch and a dynamic length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from tests.models.zoo.model import ZooModel, integers, normal, randomize
from tftrt_toolkit.artifacts import ShapeRange

layers = keras.layers
ops = keras.ops

_TOKENS = ShapeRange((1, 8), (2, 64), (4, 128))


class TokensAndPositions(layers.Layer):
    """Token embeddings plus the first so many position embeddings."""

    def __init__(self, vocabulary: int, longest: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(vocabulary, width, name="tokens")
        self.positions = layers.Embedding(longest, width, name="positions")

    def call(self, ids: Any) -> Any:
        return self.tokens(ids) + self.positions(ops.arange(ops.shape(ids)[1]))


def _mlp(x: Any, name: str, width: int, approximate: bool) -> Any:
    x = layers.Dense(4 * width, name=f"{name}_in")(x)
    x = layers.Lambda(lambda y: keras.activations.gelu(y, approximate), name=f"{name}_gelu")(x)
    return layers.Dense(width, name=f"{name}_out")(x)


def _attention(x: Any, name: str, width: int, **kwargs: Any) -> Any:
    return layers.MultiHeadAttention(width // 32, 32, name=name)(x, x, **kwargs)


def bert(depth: int = 12, width: int = 256, vocabulary: int = 8000) -> keras.Model:
    """Post-norm encoder with exact GELU, a padding mask and a pooled output."""
    ids = keras.Input((None,), dtype="int32", name="input_ids")
    mask = keras.Input((None,), dtype="int32", name="attention_mask")
    x = TokensAndPositions(vocabulary, 512, width, name="embed")(ids)
    x = layers.LayerNormalization(epsilon=1e-12, name="embed_norm")(x)
    seen = layers.Lambda(lambda m: ops.cast(m, "bool")[:, None, :], name="mask")(mask)
    for index in range(depth):
        y = _attention(x, f"attention_{index}", width, attention_mask=seen)
        x = layers.LayerNormalization(epsilon=1e-12, name=f"attention_norm_{index}")(x + y)
        y = _mlp(x, f"mlp_{index}", width, approximate=False)
        x = layers.LayerNormalization(epsilon=1e-12, name=f"mlp_norm_{index}")(x + y)
    first = layers.Lambda(lambda y: y[:, 0], name="first")(x)
    pooled = layers.Dense(width, activation="tanh", name="pooler")(first)
    return keras.Model([ids, mask], {"sequence": x, "pooled": pooled}, name="bert")


def gpt(depth: int = 8, width: int = 384, vocabulary: int = 16000) -> keras.Model:
    """Pre-norm decoder stack with a causal mask and tanh GELU; logits of every position."""
    ids = keras.Input((None,), dtype="int32", name="input_ids")
    x = TokensAndPositions(vocabulary, 512, width, name="embed")(ids)
    for index in range(depth):
        y = layers.LayerNormalization(epsilon=1e-5, name=f"attention_norm_{index}")(x)
        x = x + _attention(y, f"attention_{index}", width, use_causal_mask=True)
        y = layers.LayerNormalization(epsilon=1e-5, name=f"mlp_norm_{index}")(x)
        x = x + _mlp(y, f"mlp_{index}", width, approximate=True)
    x = layers.LayerNormalization(epsilon=1e-5, name="norm")(x)
    return keras.Model(ids, layers.Dense(vocabulary, use_bias=False, name="logits")(x), name="gpt")


def lstm(width: int = 64, features: int = 16, classes: int = 5) -> keras.Model:
    """Two LSTM layers, which TensorFlow runs as While loops, and a classifier."""
    series = keras.Input((None, features), name="series")
    x = layers.LSTM(width, return_sequences=True, name="lstm_0")(series)
    x = layers.LSTM(width, name="lstm_1")(x)
    x = layers.Dense(classes, activation="softmax", name="classes")(x)
    return keras.Model(series, x, name="lstm")


def _saver(build: Any) -> Any:
    def save(directory: Path) -> None:
        keras.utils.clear_session()
        model = build()
        randomize(model)
        model.export(directory, verbose=False)

    return save


def _mask(rng: Any, shape: tuple[int, ...]) -> Any:
    """The last quarter of every other sequence is padding."""
    mask = integers(1, 2)(rng, shape)
    mask[::2, -(shape[1] // 4) :] = 0
    return mask


MODELS = (
    ZooModel(
        name="bert",
        save=_saver(bert),
        shapes={"input_ids": _TOKENS, "attention_mask": _TOKENS},
        draw={"input_ids": integers(0, 8000), "attention_mask": _mask},
        max_engines=2,
        min_fraction=0.95,
    ),
    ZooModel(
        name="gpt",
        save=_saver(gpt),
        shapes={"input_ids": _TOKENS},
        draw={"input_ids": integers(0, 16000)},
        max_engines=2,
        min_fraction=0.95,
    ),
    ZooModel(
        name="lstm",
        save=_saver(lstm),
        shapes={"series": ShapeRange((1, 4, 16), (4, 20, 16), (8, 40, 16))},
        draw={"series": normal},
        quick=True,
    ),
)
