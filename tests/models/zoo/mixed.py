"""Models of which only a part can become engines, and one too large for a protocol buffer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.models.zoo.model import (
    SEED,
    ZooModel,
    images,
    integers,
    normal,
    randomize,
    save_module,
    settle_batch_norm,
)
from tftrt_toolkit.artifacts import ShapeRange

layers = keras.layers


def _backbone(size: int, name: str) -> keras.Model:
    keras.utils.clear_session()
    x = image = keras.Input((size, size, 3), name="image")
    for index, filters in enumerate((16, 32, 64)):
        x = layers.Conv2D(filters, 3, 2, padding="same", use_bias=False, name=f"conv_{index}")(x)
        x = layers.BatchNormalization(name=f"norm_{index}")(x)
        x = layers.ReLU(name=f"relu_{index}")(x)
    model = keras.Model(image, x, name=name)
    randomize(model, gain=2.0)
    settle_batch_norm(model, images(np.random.default_rng(SEED), (8, size, size, 3)))
    return model


def _dense(rng: np.random.Generator, inputs: int, outputs: int, name: str) -> tf.Variable:
    return tf.Variable(normal(rng, (inputs, outputs)) / np.float32(inputs**0.5), name=name)


def save_detector(directory: Path) -> None:
    """Boxes and class scores of an 8x8 grid, pruned by combined non-max suppression."""
    rng = np.random.default_rng(SEED)
    model = _backbone(64, "detector")
    heads = {"boxes": _dense(rng, 64, 4, "boxes"), "scores": _dense(rng, 64, 6, "scores")}
    rows, columns = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    centres = ((np.stack([rows, columns], -1) + 0.5) / 8).reshape(1, 64, 2).astype(np.float32)

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        cells = tf.reshape(model(image, training=False), (-1, 64, 64))
        offsets = tf.tanh(tf.matmul(cells, heads["boxes"]))
        middle = centres + 0.1 * offsets[..., :2]
        half = 0.15 * tf.exp(offsets[..., 2:])
        boxes = tf.concat([middle - half, middle + half], axis=-1)[:, :, tf.newaxis]
        scores = tf.sigmoid(tf.matmul(cells, heads["scores"]))
        found = tf.image.combined_non_max_suppression(
            boxes, scores, max_output_size_per_class=5, max_total_size=10, iou_threshold=0.4,
            score_threshold=0.75,
        )  # fmt: skip
        return {"boxes": found[0], "scores": found[1], "classes": found[2], "count": found[3]}

    specs = {"image": tf.TensorSpec((None, 64, 64, 3), tf.float32, name="image")}
    save_module(directory, serve, specs, weights=[v.value for v in model.variables], heads=heads)


def save_strings(directory: Path) -> None:
    """Raw bytes decoded, a camera's name looked up, a CNN, and the class's name looked up."""
    rng = np.random.default_rng(SEED)
    model = _backbone(32, "strings")
    cameras = tf.constant([f"camera-{index}" for index in range(4)])
    codes = tf.lookup.KeyValueTensorInitializer(cameras, tf.range(4, dtype=tf.int64))
    camera_table = tf.lookup.StaticHashTable(codes, default_value=4)
    names = tf.constant(["cat", "dog", "fox", "hen", "owl"])
    classes = tf.lookup.KeyValueTensorInitializer(tf.range(5, dtype=tf.int64), names)
    class_table = tf.lookup.StaticHashTable(classes, default_value="?")
    gains = tf.Variable(1 + 0.1 * normal(rng, (5, 3)), name="gains")
    head = _dense(rng, 64, 5, "head")

    def serve(pixels: tf.Tensor, camera: tf.Tensor) -> dict[str, tf.Tensor]:
        image = tf.reshape(tf.io.decode_raw(pixels, tf.uint8), (-1, 32, 32, 3))
        gain = tf.gather(gains, camera_table.lookup(camera))[:, tf.newaxis, tf.newaxis]
        image = (tf.cast(image, tf.float32) / 127.5 - 1.0) * gain
        features = tf.reduce_mean(model(image, training=False), axis=(1, 2))
        scores = tf.nn.softmax(tf.matmul(features, head))
        return {"scores": scores, "label": class_table.lookup(tf.argmax(scores, axis=-1))}

    specs = {
        "pixels": tf.TensorSpec((None,), tf.string, name="pixels"),
        "camera": tf.TensorSpec((None,), tf.string, name="camera"),
    }
    weights = [v.value for v in model.variables]
    tables = [camera_table, class_table]
    save_module(directory, serve, specs, weights=weights, tables=tables, gains=gains, head=head)


def save_cond(directory: Path) -> None:
    """Two networks; the sum of int64 ids says which one runs."""
    rng = np.random.default_rng(SEED)
    table = tf.Variable(normal(rng, (100, 32)), name="table")
    deep = [_dense(rng, 32, 32, f"deep_{index}") for index in range(4)]
    wide = [_dense(rng, 32, 128, "wide_in"), _dense(rng, 128, 32, "wide_out")]

    def serve(ids: tf.Tensor, limit: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.reduce_mean(tf.gather(table, ids), axis=1)

        def go_deep() -> tf.Tensor:
            y = x
            for kernel in deep:
                y = tf.tanh(tf.matmul(y, kernel))
            return y

        def go_wide() -> tf.Tensor:
            return tf.matmul(tf.nn.relu(tf.matmul(x, wide[0])), wide[1])

        y = tf.cond(tf.reduce_sum(ids) > limit, go_deep, go_wide)
        return {"features": tf.math.l2_normalize(y, axis=-1), "rows": tf.shape(ids, tf.int64)[0]}

    specs = {
        "ids": tf.TensorSpec((None, 8), tf.int64, name="ids"),
        "limit": tf.TensorSpec((), tf.int64, name="limit"),
    }
    save_module(directory, serve, specs, table=table, deep=deep, wide=wide)


def save_recommender(directory: Path) -> None:
    """Eight embedding tables, pairwise products and an MLP."""
    rng = np.random.default_rng(SEED)
    tables = [tf.Variable(normal(rng, (1000, 16)), name=f"table_{i}") for i in range(8)]
    bottom = [_dense(rng, 13, 64, "bottom_0"), _dense(rng, 64, 16, "bottom_1")]
    top = [_dense(rng, 16 + 81, 64, "top_0"), _dense(rng, 64, 1, "top_1")]

    def serve(categories: tf.Tensor, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.math.log1p(tf.nn.relu(numbers))
        for kernel in bottom:
            x = tf.nn.relu(tf.matmul(x, kernel))
        columns = tf.unstack(tf.math.floormod(categories, 1000), axis=1)
        rows = [tf.gather(table, ids) for table, ids in zip(tables, columns, strict=True)]
        vectors = tf.stack([x, *rows], axis=1)
        products = tf.reshape(tf.matmul(vectors, vectors, transpose_b=True), (-1, 81))
        y = tf.nn.relu(tf.matmul(tf.concat([x, products / 4.0], axis=1), top[0]))
        return {"probability": tf.sigmoid(tf.matmul(y, top[1]))}

    specs = {
        "categories": tf.TensorSpec((None, 8), tf.int64, name="categories"),
        "numbers": tf.TensorSpec((None, 13), tf.float32, name="numbers"),
    }
    save_module(directory, serve, specs, tables=tables, bottom=bottom, top=top)


def save_tf1(directory: Path) -> None:
    """A graph and a session of TensorFlow 1, with reference variables and a dropout placeholder."""
    v1 = tf.compat.v1
    rng = np.random.default_rng(SEED)

    def weight(name: str, value: np.ndarray) -> Any:
        initializer = v1.constant_initializer(value)
        return v1.get_variable(name, value.shape, initializer=initializer, use_resource=False)

    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.float32, (None, 28, 28, 1), name="image")
        keep = v1.placeholder_with_default(1.0, (), name="keep")
        with v1.variable_scope("conv"):
            kernel = weight("kernel", normal(rng, (5, 5, 1, 16)) / np.float32(3.5))
            x = v1.nn.conv2d(image, kernel, (1, 2, 2, 1), "SAME")
            one, zero = np.ones(16, np.float32), np.zeros(16, np.float32)
            statistics = [weight(f"norm_{i}", value) for i, value in enumerate((one, zero) * 2)]
            scale, offset, variance, mean = statistics
            x, _, _ = v1.nn.fused_batch_norm(
                x, scale, offset, mean, variance, epsilon=1e-3, is_training=False
            )
            x = tf.nn.relu(x)
        x = v1.nn.max_pool(x, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = v1.nn.dropout(tf.reshape(x, (-1, 7 * 7 * 16)), rate=1 - keep)
        with v1.variable_scope("dense"):
            kernel = weight("kernel", normal(rng, (784, 10)) / np.float32(28))
            logits = tf.nn.bias_add(tf.matmul(x, kernel), weight("bias", normal(rng, (10,))))
        outputs = {"classes": tf.argmax(logits, axis=-1), "scores": tf.nn.softmax(logits)}
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(directory), {"image": image}, outputs)


def save_large(directory: Path) -> None:
    """2.5 GB: two embedding tables of 1 GB each, and the scores of 250,000 classes (0.5 GB)."""
    block = np.random.default_rng(SEED).standard_normal((1000, 1024), dtype=np.float32)

    def weight(rows: int, columns: int, name: str) -> tf.Variable:
        copies = -(-rows * columns // block.size)
        values = tf.reshape(tf.tile(block, (copies, 1)), (-1,))[: rows * columns]
        return tf.Variable(tf.reshape(values, (rows, columns)), name=name)

    users, items = weight(1_000_000, 250, "users"), weight(1_000_000, 250, "items")
    hidden, classes = weight(500, 500, "hidden"), weight(500, 250_000, "classes")

    def serve(user: tf.Tensor, item: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.concat([tf.gather(users, user), tf.gather(items, item)], axis=-1)
        x = tf.nn.relu(tf.matmul(x, hidden) / 500.0**0.5)
        return {"scores": tf.matmul(x, classes) / 500.0**0.5}

    specs = {name: tf.TensorSpec((None,), tf.int32, name=name) for name in ("user", "item")}
    save_module(directory, serve, specs, users=users, items=items, hidden=hidden, classes=classes)


def _pixel_strings(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.array([rng.bytes(32 * 32 * 3) for _ in range(shape[0])], object)


def _camera_names(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.array([f"camera-{index}" for index in rng.integers(0, 6, shape)], object)


def _batch(*shape: int) -> ShapeRange:
    return ShapeRange((1, *shape), (4, *shape), (16, *shape))


MODELS = (
    ZooModel(
        name="detector",
        save=save_detector,
        shapes={"image": _batch(64, 64, 3)},
        draw={"image": images},
    ),
    ZooModel(
        name="strings",
        save=save_strings,
        shapes={"pixels": _batch(), "camera": _batch()},
        draw={"pixels": _pixel_strings, "camera": _camera_names},
        realistic=True,
    ),
    ZooModel(
        name="cond",
        save=save_cond,
        shapes={"ids": _batch(8), "limit": ShapeRange((), (), ())},
        draw={"ids": integers(0, 100, "int64"), "limit": integers(800, 2400, "int64")},
        quick=True,
    ),
    ZooModel(
        name="recommender",
        save=save_recommender,
        shapes={"categories": _batch(8), "numbers": _batch(13)},
        draw={"categories": integers(-5000, 5000, "int64"), "numbers": normal},
    ),
    ZooModel(
        name="tf1",
        save=save_tf1,
        shapes={"image": _batch(28, 28, 1)},
        draw={"image": images},
        quick=True,
    ),
    ZooModel(
        name="large",
        save=save_large,
        shapes={"user": _batch(), "item": _batch()},
        draw={"user": integers(0, 1_000_000), "item": integers(0, 1_000_000)},
    ),
)
