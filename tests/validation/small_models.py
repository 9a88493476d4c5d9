"""Small models for the validation tests, and copies of them with one thing wrong."""

import numpy as np
import tensorflow as tf

CLASSES = 7


def weights(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "conv": rng.normal(0, 0.4, (3, 3, 1, 8)).astype(np.float32),
        "bias": rng.normal(0, 0.2, (8,)).astype(np.float32),
        "dense": rng.normal(0, 0.2, (8 * 16, CLASSES)).astype(np.float32),
        "square": rng.normal(0, 0.4, (CLASSES, CLASSES)).astype(np.float32),
    }


class Classifier(tf.Module):
    """images float32 [batch, 8, 8, 1] -> logits and mixed, both [batch, 7]."""

    def __init__(self, values=None, offset=0.0, swap=False, noise=0.0):
        super().__init__()
        self.values = {k: tf.Variable(v, name=k) for k, v in (values or weights()).items()}
        self._offset, self._swap, self._noise = offset, swap, noise

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.float32, name="images")])
    def serve(self, images):
        x = (images - self._offset) * 2.0 - 1.0
        x = tf.nn.relu(tf.nn.conv2d(x, self.values["conv"], 2, "SAME") + self.values["bias"])
        if self._noise:
            x += tf.random.normal(tf.shape(x), stddev=self._noise)
        logits = tf.matmul(tf.reshape(x, (-1, 8 * 16)), self.values["dense"])
        mixed = tf.matmul(logits, self.values["square"])
        if self._swap:
            logits, mixed = mixed, logits
        return {"logits": logits, "mixed": mixed}


def function(**kwargs):
    """The model's concrete function; it keeps the model alive."""
    model = Classifier(**kwargs)
    concrete = model.serve.get_concrete_function()
    concrete.model = model
    return concrete


def save(directory, **kwargs):
    model = Classifier(**kwargs)
    tf.saved_model.save(model, str(directory), signatures={"serving_default": model.serve})
    return directory


def batches(count=4, size=16, seed=5):
    rng = np.random.default_rng(seed)
    return [rng.random((size, 8, 8, 1), dtype=np.float32) for _ in range(count)]
