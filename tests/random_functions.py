"""Random TensorFlow functions of matrices: elementwise, shapes, loops, branches, weights."""

import dataclasses

import numpy as np
import tensorflow as tf

WIDTH = 4
_WEIGHT = np.linspace(-1, 1, WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH)


def _shape_chain(x, y):
    rows, columns = tf.unstack(tf.shape(y))
    return tf.reshape(tf.reshape(x, [-1]), [rows, columns])


def _filled(x, y):
    zeros = tf.zeros(tf.shape(x))
    return zeros + y * tf.cast(tf.range(tf.shape(x)[1]), tf.float32)


def _loop(x, y):
    def body(step, value):
        return step + 1, tf.tanh(value + y) * 0.5 + tf.cast(step, tf.float32)

    return tf.while_loop(lambda step, _: step < 3, body, [0, x])[1]


def _branch(x, y):
    return tf.cond(
        tf.reduce_sum(x) > 0, lambda: tf.nn.relu(x) + y, lambda: tf.exp(-tf.abs(x)) * y - 1.0
    )


def _ordered(x, y):
    with tf.control_dependencies([y]):
        return tf.identity(x) + 1.0


OPERATIONS = {
    "add": lambda x, y: x + y,
    "relu": lambda x, y: tf.nn.relu(x - y),
    "tanh": lambda x, y: tf.tanh(x),
    "normalize": lambda x, y: x - tf.reduce_mean(y, 1, keepdims=True),
    "matmul": lambda x, y: tf.tanh(tf.matmul(x, _WEIGHT)),
    "shape": _shape_chain,
    "filled": _filled,
    "split": lambda x, y: tf.concat(tf.split(x, 2, 1)[::-1], 1),
    "gamma": lambda x, y: tf.math.lgamma(tf.abs(x) + 1.0),  # no mapping
    "double": lambda x, y: tf.cast(tf.cast(x, tf.float64) * 2.0, tf.float32),  # refused dtype
    "loop": _loop,
    "branch": _branch,
    "ordered": _ordered,
}


@dataclasses.dataclass(frozen=True)
class Program:
    """steps: operation and the two earlier values that it takes; results: values returned."""

    steps: tuple[tuple[str, int, int], ...]
    results: tuple[int, ...]

    def __call__(self, x):
        """Run it on a matrix [rows, WIDTH]; every value is one too."""
        values = [x]
        for operation, first, second in self.steps:
            values.append(OPERATIONS[operation](values[first], values[second]))
        return {f"value_{index}": values[index] for index in self.results}

    def trace(self):
        """A ConcreteFunction for any number of rows."""
        signature = [tf.TensorSpec([None, WIDTH], tf.float32, "x")]
        return tf.function(self.__call__, input_signature=signature).get_concrete_function()
