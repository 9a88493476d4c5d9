"""Small models, written for either Keras."""

import numpy as np

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(96, 8, 8, 1)).astype(np.float32)
LABELS = (IMAGES.mean((1, 2, 3)) > 0).astype(np.int64)


def functional(keras):
    images = keras.Input((8, 8, 1), name="images")
    hidden = keras.layers.Conv2D(8, 3, activation="relu")(images)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.Dropout(0.5)(keras.layers.Flatten()(hidden))
    scores = keras.layers.Dense(2, activation="softmax", name="scores")(hidden)
    return keras.Model(images, scores)


def sequential(keras):
    layers = keras.layers
    return keras.Sequential(
        [layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dense(2, name="scores")]
    )


def subclassed(keras):
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.features = keras.layers.Dense(16, activation="relu")
            self.scores = keras.layers.Dense(2)

        def call(self, inputs, training=None):
            flat = self.features(keras.layers.Flatten()(inputs["image"]))
            return {"scores": self.scores(flat) + inputs["bias"], "features": flat}

    return Classifier()


def several(keras):
    image = keras.Input((8, 8, 1), name="image")
    extra = keras.Input((4,), name="extra data")
    hidden = keras.layers.Concatenate()([keras.layers.Flatten()(image), extra])
    hidden = keras.layers.Dense(16, activation="relu")(hidden)
    outputs = [
        keras.layers.Dense(2, name="first")(hidden),
        keras.layers.Dense(3, name="second")(hidden),
    ]
    return keras.Model([image, extra], outputs)
