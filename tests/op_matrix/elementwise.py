"""Arithmetic, special functions, comparisons, logic, casts and activations."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.op_matrix.case import Case, boolean, case, f32, i32, i64

X = f32(3, 4)
Y = f32(3, 4, seed=2)
POSITIVE = f32(3, 4, low=0.1, high=3)
UNIT = f32(3, 4, low=-0.95, high=0.95)
TINY = f32(3, 4, low=-1e-6, high=1e-6)
NUMBERS = i32(3, 4)
DIVISORS = np.array([[3, -3, 2, 5], [-2, 7, -1, 4], [1, 2, -5, 3]], np.int32)
HUGE = np.array([[2**24 + 1, -(2**24) - 3, 2**30 + 7, 5]], np.int32)
NAN = np.array([[np.nan, np.inf, -np.inf, 0.0, 1.5]], np.float32)
ZEROS = np.array([[0.0, 1.0, 0.0, -2.0]], np.float32)

UNARY = {
    "abs": tf.abs,
    "acosh": lambda x: tf.acosh(x + 4.0),
    "asinh": tf.asinh,
    "atan": tf.atan,
    "ceil": tf.math.ceil,
    "cos": tf.cos,
    "cosh": tf.cosh,
    "digamma": tf.math.digamma,
    "erf": tf.math.erf,
    "erfc": tf.math.erfc,
    "exp": tf.exp,
    "expm1": tf.math.expm1,
    "floor": tf.floor,
    "is_finite": tf.math.is_finite,
    "lgamma": tf.math.lgamma,
    "neg": tf.negative,
    "reciprocal": lambda x: tf.math.reciprocal(x + 5.0),
    "rint": tf.math.rint,
    "round": tf.round,
    "sigmoid": tf.sigmoid,
    "sign": tf.sign,
    "sin": tf.sin,
    "sinh": tf.sinh,
    "softplus": tf.math.softplus,
    "softsign": tf.nn.softsign,
    "square": tf.square,
    "tan": tf.tan,
    "tanh": tf.tanh,
}
ACTIVATIONS = {
    "elu": tf.nn.elu,
    "gelu_exact": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "hard_sigmoid": tf.keras.activations.hard_sigmoid,
    "hard_silu": tf.keras.activations.hard_silu,
    "hard_tanh": tf.keras.activations.hard_tanh,
    "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.3),
    "log_sigmoid": tf.math.log_sigmoid,
    "log_softmax": tf.nn.log_softmax,
    "log_softmax_axis0": lambda x: tf.nn.log_softmax(x, axis=0),
    "mish": tf.keras.activations.mish,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "selu": tf.nn.selu,
    "silu": tf.nn.silu,
    "softmax": tf.nn.softmax,
    "softmax_axis0": lambda x: tf.nn.softmax(x, axis=0),
    "sparsemax": tf.keras.activations.sparsemax,
    "squareplus": tf.keras.activations.squareplus,
    "tanh_shrink": tf.keras.activations.tanh_shrink,
    "threshold": lambda x: tf.keras.activations.threshold(x, 0.5, -1.0),
    "crelu": tf.nn.crelu,
}
BINARY = {
    "add": tf.add,
    "atan2": tf.atan2,
    "div": tf.divide,
    "div_no_nan": tf.math.divide_no_nan,
    "floordiv": tf.math.floordiv,
    "floormod": tf.math.floormod,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "mul": tf.multiply,
    "mul_no_nan": tf.math.multiply_no_nan,
    "pow": lambda x, y: tf.pow(tf.abs(x), y),
    "squared_difference": tf.math.squared_difference,
    "sub": tf.subtract,
    "truncatediv": tf.truncatediv,
    "truncatemod": tf.truncatemod,
    "xdivy": tf.math.xdivy,
}
INTEGER = {
    "add": tf.add,
    "floordiv": tf.math.floordiv,
    "floormod": tf.math.floormod,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "mul": tf.multiply,
    "squared_difference": tf.math.squared_difference,
    "sub": tf.subtract,
    "truediv": tf.truediv,
    "truncatediv": tf.truncatediv,
    "truncatemod": tf.truncatemod,
}
COMPARE = {
    "equal": tf.equal,
    "greater": tf.greater,
    "greater_equal": tf.greater_equal,
    "less": tf.less,
    "less_equal": tf.less_equal,
    "not_equal": tf.not_equal,
}
LOGIC = {"and": tf.logical_and, "or": tf.logical_or, "xor": tf.math.logical_xor}
BITS = {
    "and": tf.bitwise.bitwise_and,
    "or": tf.bitwise.bitwise_or,
    "xor": tf.bitwise.bitwise_xor,
    "left_shift": lambda x, y: tf.bitwise.left_shift(x, y % 4),
    "right_shift": lambda x, y: tf.bitwise.right_shift(x, y % 4),
}
CASTS = [
    ("float32", "int32"),
    ("float32", "bool"),
    ("float32", "float16"),
    ("float32", "float64"),
    ("int32", "float32"),
    ("int32", "int64"),
    ("int32", "bool"),
    ("int64", "int32"),
    ("bool", "float32"),
    ("bool", "int32"),
    ("uint8", "float32"),
    ("float32", "uint8"),
]

CASES: dict[str, Case] = {}
CASES |= {f"math.{name}": case(f, X) for name, f in UNARY.items()}
CASES |= {f"act.{name}": case(f, X) for name, f in ACTIVATIONS.items()}
CASES |= {f"math.{name}": case(f, X, Y) for name, f in BINARY.items()}
CASES |= {f"int.{name}": case(f, NUMBERS, DIVISORS) for name, f in INTEGER.items()}
CASES |= {f"compare.{name}": case(f, NUMBERS, DIVISORS) for name, f in COMPARE.items()}
CASES |= {
    f"logic.{name}": case(f, boolean(3, 4), boolean(3, 4, seed=3)) for name, f in LOGIC.items()
}
CASES |= {f"bitwise.{name}": case(f, abs(NUMBERS), abs(DIVISORS)) for name, f in BITS.items()}
CASES |= {
    f"cast.{source}_{target}": case(
        lambda x, target=target: tf.cast(x, target), abs(3 * X).astype(source)
    )
    for source, target in CASTS
}
CASES |= {
    "math.acos": case(tf.acos, UNIT),
    "math.asin": case(tf.asin, UNIT),
    "math.atanh": case(tf.atanh, UNIT),
    "math.erfinv": case(tf.math.erfinv, UNIT),
    "math.ndtri": case(tf.math.ndtri, abs(UNIT)),
    "math.log": case(tf.math.log, POSITIVE),
    "math.log1p": case(tf.math.log1p, POSITIVE - 1),
    "math.log1p_tiny": case(tf.math.log1p, TINY),
    "math.log1p_limits": case(tf.math.log1p, np.array([[-1, np.inf, np.nan, 0, 1e30]], np.float32)),
    "math.expm1_tiny": case(tf.math.expm1, TINY),
    "math.expm1_limits": case(tf.math.expm1, np.array([[-np.inf, np.inf, np.nan]], np.float32)),
    "math.rsqrt": case(tf.math.rsqrt, POSITIVE),
    "math.sqrt": case(tf.sqrt, POSITIVE),
    "math.pow_square": case(lambda x: x**2, X),
    "math.pow_half": case(lambda x: x**0.5, POSITIVE),
    "math.xlogy": case(tf.math.xlogy, ZEROS, abs(ZEROS)),
    "math.xlog1py": case(tf.math.xlog1py, ZEROS, abs(ZEROS)),
    "math.xdivy_zeros": case(tf.math.xdivy, ZEROS, ZEROS),
    "math.mul_no_nan_inf": case(tf.math.multiply_no_nan, NAN[:, :4], ZEROS),
    "math.div_no_nan_zero": case(tf.math.divide_no_nan, ZEROS, np.zeros_like(ZEROS)),
    "math.floormod_multiples": case(
        tf.math.floormod, np.array([[0.6, -0.6, 0.9, -2]], np.float32), np.float32([[0.3] * 4])
    ),
    "math.truncatediv_negative": case(
        lambda x: tf.truncatediv(x, -3.0), np.array([[7, -7, 2, -2.5]], np.float32)
    ),
    "math.is_nan": case(tf.math.is_nan, NAN),
    "math.is_inf": case(tf.math.is_inf, NAN),
    "math.nextafter": case(tf.math.nextafter, X.astype(np.float64), Y.astype(np.float64)),
    "math.add_n": case(lambda x, y: tf.add_n([x, y, x]), X, Y),
    "math.accumulate_n": case(lambda x, y: tf.math.accumulate_n([x, y]), X, Y),
    "math.add_broadcast": case(lambda x: x + tf.constant([1.0, 2, 3, 4]), X),
    "math.sub_broadcast_both": case(lambda x, y: x[:, None, :] - y[None, :, :], X, Y),
    "math.clip_by_value": case(lambda x: tf.clip_by_value(x, -0.5, 1.0), X),
    "math.clip_by_norm": case(lambda x: tf.clip_by_norm(x, 1.0, axes=[1]), X),
    "math.l2_loss": case(lambda x: tf.nn.l2_loss(x) + x, X),
    "math.l2_normalize": case(lambda x: tf.math.l2_normalize(x, axis=-1), X),
    "math.sigmoid_cross_entropy": case(
        lambda x, y: tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x), X, abs(Y)
    ),
    "math.softmax_cross_entropy": case(
        lambda x, y: tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=x), X, abs(Y)
    ),
    "math.sparse_softmax_cross_entropy": case(
        lambda x, y: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=x),
        X,
        i32(3, low=0, high=4),
    ),
    "math.zero_fraction": case(lambda x: tf.math.zero_fraction(tf.nn.relu(x)) + x, X),
    "math.polyval": case(lambda x: tf.math.polyval([1.0, -2.0, 0.5], x), X),
    "math.igamma": case(tf.math.igamma, POSITIVE, POSITIVE + 1),
    "math.betainc": case(tf.math.betainc, POSITIVE, POSITIVE + 1, abs(UNIT)),
    "int.maximum_huge": case(lambda x: tf.maximum(x, 2**24 + 1), HUGE),
    "int.minimum_huge_int64": case(
        lambda x: tf.minimum(x, 2**40 + 1), HUGE.astype(np.int64) * 2**20 + 1
    ),
    **{
        f"int.huge_{name}": case(lambda x, f=f: f(x, tf.constant(2**24 + 1)), HUGE)
        for name, f in COMPARE.items()
    },
    "int.huge_top_k": case(lambda x: tf.math.top_k(x, 2).values, HUGE),
    "int.huge_clip": case(lambda x: tf.clip_by_value(x, 3, 2**24 + 1), HUGE),
    "int.huge_sum": case(lambda x: tf.reduce_sum(x // 8, axis=1), HUGE),
    "int.huge_max": case(lambda x: tf.reduce_max(x, axis=1), HUGE),
    "int.huge_argmax": case(
        lambda x: tf.argmax(x[:, ::-1], axis=1), HUGE[:, [0, 0, 1, 3]] + [0, 1, 0, 0]
    ),
    "int.huge_cumsum": case(lambda x: tf.cumsum(x, axis=1), HUGE // 8),
    "int.huge_pad": case(lambda x: tf.pad(x, [[0, 0], [1, 0]]), HUGE),
    "int.huge_pad_uint8": case(lambda x: tf.pad(x, [[0, 0], [1, 0]]), HUGE.astype(np.uint8)),
    "int.huge_where": case(lambda x: tf.where(x > 5, x, 0), HUGE),
    "int.huge_gather": case(lambda x: tf.gather(x, [3, 0], axis=1), HUGE),
    "int.huge_max_pool": case(
        lambda x: tf.nn.max_pool2d(tf.reshape(x, [1, 2, 2, 1]), 2, 1, "VALID"), HUGE
    ),
    "int.huge_matmul": case(lambda x: tf.matmul(x // 8, x, transpose_b=True), HUGE % 2**15),
    "int.huge_cast": case(lambda x: tf.cast(x, tf.int64) * 2**20, HUGE),
    "int.huge_abs": case(tf.abs, HUGE),
    "int.huge_sign": case(tf.sign, HUGE),
    "int.huge_prod": case(lambda x: tf.reduce_prod(x % 2**10, axis=1), HUGE + 3),
    "double.top_k": case(lambda x: tf.math.top_k(x, 2).values, X.astype(np.float64) + 1e9),
    "double.maximum": case(lambda x: tf.maximum(x, 0.3), X.astype(np.float64)),
    "int.abs": case(tf.abs, NUMBERS),
    "int.neg": case(tf.negative, NUMBERS),
    "int.sign": case(tf.sign, NUMBERS),
    "int.pow": case(lambda x: x**3, NUMBERS),
    "int.square": case(tf.square, HUGE // 2**10),
    "int.relu": case(tf.nn.relu, NUMBERS),
    "int.floordiv_int64": case(tf.math.floordiv, NUMBERS.astype("i8"), DIVISORS.astype("i8")),
    "int.floormod_int64": case(tf.math.floormod, NUMBERS.astype("i8"), DIVISORS.astype("i8")),
    "int.mul_int64": case(lambda x: x * 3 - 1, i64(3, 4)),
    "int.uint8_add": case(lambda x: x + 3, NUMBERS.astype(np.uint8)),
    "compare.equal_float": case(lambda x: tf.equal(tf.round(x), 1.0), X),
    "compare.greater_float": case(tf.greater, X, Y),
    "compare.not_equal_bool": case(tf.not_equal, boolean(3, 4), boolean(3, 4, seed=3)),
    "compare.equal_nan": case(lambda x: tf.equal(x, x), NAN),
    "compare.approximate_equal": case(
        lambda x, y: tf.raw_ops.ApproximateEqual(x=x, y=y, tolerance=0.5), X, Y
    ),
    "logic.not": case(tf.logical_not, boolean(3, 4)),
    "logic.where": case(lambda c, x, y: tf.where(c, x, y), boolean(3, 4), X, Y),
    "logic.where_broadcast": case(lambda c, x: tf.where(c, x, 0.0), boolean(3, 1), X),
    "logic.select_v1": case(lambda c, x, y: tf.compat.v1.where(c, x, y), boolean(3), X, Y),
    "logic.where_indices": case(lambda c: tf.where(c), boolean(3, 4)),
    "bitwise.invert": case(tf.bitwise.invert, NUMBERS),
    "cast.bitcast": case(lambda x: tf.bitcast(x, tf.int32), X),
    "cast.saturate": case(lambda x: tf.saturate_cast(x * 300, tf.uint8), X),
    "cast.float32_int32_negative": case(lambda x: tf.cast(x, tf.int32), 3 * X),
    "half.add_mul": case(lambda x: x * 2 + 1, X.astype(np.float16)),
    "half.sigmoid": case(tf.sigmoid, X.astype(np.float16)),
    "double.exp": case(tf.exp, X.astype(np.float64)),
    "double.log": case(tf.math.log, POSITIVE.astype(np.float64)),
    "half.bfloat16_round_trip": case(lambda x: tf.cast(tf.cast(x, tf.bfloat16) * 2, tf.float32), X),
}
