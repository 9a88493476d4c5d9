"""Trains the bundled digits models and writes them as SavedModels, with digits.json beside them.

    python saved_models/train_digits.py --output_dir saved_models

Seeded; the figures in digits.json are those of the held-out digits, which training never sees.
Both models take float32 [batch, 8, 8, 1] in [0, 1] as `image`, and give float32 [batch, 10] as
`logits`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

from tftrt_toolkit.examples import digits

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", str(Path(__file__).parent), "Where the SavedModels and digits.json go."
)
_SEED = flags.DEFINE_integer("seed", 1, "Seed of the weights, the augmentation and the order.")
_EPOCHS = flags.DEFINE_integer("epochs", 0, "Epochs of training; 0: each model's own number.")
_BATCH = flags.DEFINE_integer("batch", 32, "Images in a training batch.")

layers = keras.layers


def digits_cnn() -> keras.Model:
    """Four convolutions with batch normalization, two poolings, two dense layers."""
    image = x = keras.Input((8, 8, 1), name="image")
    for index, (filters, pool) in enumerate([(24, False), (32, True), (48, False), (48, True)]):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{index}")(x)
        x = layers.BatchNormalization(name=f"norm_{index}")(x)
        x = layers.ReLU(name=f"relu_{index}")(x)
        if pool:
            x = layers.MaxPooling2D(name=f"pool_{index}")(x)
            x = layers.Dropout(0.2, name=f"drop_{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="hidden")(x)
    x = layers.Dropout(0.3, name="drop_hidden")(x)
    return keras.Model(image, layers.Dense(10, name="logits")(x), name="digits_cnn")


class PositionEmbedding(layers.Layer):
    """Adds a trained vector to each token."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the vectors, one a token."""
        self.position = self.add_weight(shape=shape[1:], initializer="normal", name="position")

    def call(self, x: Any) -> Any:
        """Tokens [batch, tokens, width] with their positions added."""
        return x + self.position


def encoder_block(x: Any, name: str, width: int, heads: int) -> Any:
    """Pre-norm attention and a GELU MLP, each with its residual."""
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_attention")(x)
    attention = layers.MultiHeadAttention(
        heads, width // heads, dropout=0.1, name=f"{name}_attention"
    )
    x = layers.Add(name=f"{name}_add_attention")([x, attention(y, y)])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_mlp")(x)
    y = layers.Dense(2 * width, activation="gelu", name=f"{name}_mlp_in")(y)
    y = layers.Dropout(0.1, name=f"{name}_mlp_drop")(y)
    y = layers.Dense(width, name=f"{name}_mlp_out")(y)
    return layers.Add(name=f"{name}_add_mlp")([x, y])


def digits_vit(width: int = 64, heads: int = 4, depth: int = 4) -> keras.Model:
    """A vision transformer over the sixteen 2x2 patches of a digit."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(width, 2, strides=2, name="patches")(image)
    x = layers.Reshape((16, width), name="tokens")(x)
    x = PositionEmbedding(name="position")(x)
    for index in range(depth):
        x = encoder_block(x, f"block_{index}", width, heads)
    x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    return keras.Model(image, layers.Dense(10, name="logits")(x), name="digits_vit")


def augmented(train: digits.Digits, batch: int, seed: int) -> tf.data.Dataset:
    """Training batches, shuffled, each image slightly moved, turned and scaled."""
    change = keras.Sequential(
        [
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant", seed=seed),
            layers.RandomRotation(0.03, fill_mode="constant", seed=seed + 1),
            layers.RandomZoom(0.1, fill_mode="constant", seed=seed + 2),
        ]
    )
    data = tf.data.Dataset.from_tensor_slices((train.images, train.labels))
    data = data.shuffle(len(train), seed=seed).batch(batch)
    return data.map(lambda x, y: (change(x, training=True), y))


def train_model(
    model: keras.Model, train: digits.Digits, epochs: int, batch: int, seed: int
) -> None:
    """AdamW with a warm-up and a cosine decay to nothing; no early stopping, so no peeking."""
    steps = epochs * -(-len(train) // batch)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4, steps - steps // 10, warmup_target=2e-3, warmup_steps=steps // 10
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.02),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(augmented(train, batch, seed), epochs=epochs, shuffle=False, verbose=0)


def save(model: keras.Model, directory: Path) -> None:
    """Write the SavedModel, in place of an older one.

    A plain module holds each variable once; `model.export` would write two copies.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": model(image, training=False)}

    module = tf.Module(name=model.name)
    module.weights = [variable.value for variable in model.variables]
    module.serve = serve
    if directory.exists():
        shutil.rmtree(directory)
    tf.saved_model.save(module, directory, signatures={"serving_default": serve})


def accuracy(directory: Path, test: digits.Digits) -> float:
    """Share of right answers of the SavedModel as it was written."""
    loaded = tf.saved_model.load(directory)
    logits = loaded.signatures["serving_default"](image=tf.constant(test.images))["logits"].numpy()
    return float(np.mean(logits.argmax(axis=1) == test.labels))


MODELS: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "digits_cnn": (digits_cnn, 60),
    "digits_vit": (digits_vit, 150),
}


def main(_: list[str]) -> None:
    """Train, save and judge each model."""
    tf.config.experimental.enable_op_determinism()
    train, test = digits.load_split()
    output = Path(_OUTPUT_DIR.value)
    record: dict[str, Any] = {
        "data": "sklearn.datasets.load_digits",
        "split_seed": digits.SPLIT_SEED,
        "train_images": len(train),
        "test_images": len(test),
        "seed": _SEED.value,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "models": {},
    }
    for name, (build, epochs) in MODELS.items():
        keras.utils.set_random_seed(_SEED.value)
        model = build()
        epochs = _EPOCHS.value or epochs
        train_model(model, train, epochs, _BATCH.value, _SEED.value)
        save(model, output / name)
        share = accuracy(output / name, test)
        logging.info("%s: %.2f %% of %d held-out digits", name, 100 * share, len(test))
        record["models"][name] = {
            "epochs": epochs,
            "parameters": model.count_params(),
            "held_out_accuracy": round(share, 6),
        }
    (output / "digits.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
