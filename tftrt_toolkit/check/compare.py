"""How far two values of one tensor are apart, and how far they may be."""

from __future__ import annotations

import dataclasses

import numpy as np

# One operator, or a shallow chain of them: about 80 roundings of float32.
BOUND = 1e-5
# A deep segment whose every operator keeps BOUND when it is fed TensorFlow's own values: what is
# left is rounding that adds up, in both results alike. Measured end to end on networks with random
# weights: ResNet50 5.4e-5, MobileNetV2 and InceptionV3 3.3e-5, transformers below 4e-6. The bound
# leaves room for networks ten times as deep; one wrong operator exceeds it by far.
ACCUMULATED_BOUND = 1e-3


@dataclasses.dataclass(frozen=True)
class Difference:
    """One tensor's deviation.

    ratio: max |actual - expected| over the scale, which is max |expected| of the finite values;
      infinite where shapes, dtypes, exact values or the places of NaN and Inf disagree.
    words: the same as a clause for the user.
    """

    tensor: str
    ratio: float
    words: str


def difference(tensor: str, expected: np.ndarray, actual: np.ndarray) -> Difference:
    """Compare what TensorFlow gave with what ONNX Runtime gave.

    Integers, bools and strings must be equal. A float16's scale is widened by its own rounding, so
    that one bound serves all dtypes.
    """
    expected, actual = np.asarray(expected), np.asarray(actual)
    if expected.shape != actual.shape:
        words = f"the shape is {list(actual.shape)} instead of {list(expected.shape)}"
        return Difference(tensor, np.inf, words)
    if expected.dtype.kind not in "OSU" and expected.dtype != actual.dtype:
        return Difference(
            tensor, np.inf, f"the dtype is {actual.dtype} instead of {expected.dtype}"
        )
    if not np.issubdtype(expected.dtype, np.floating):
        return _exact(tensor, expected, actual)
    return _floating(tensor, expected, actual)


def _exact(tensor: str, expected: np.ndarray, actual: np.ndarray) -> Difference:
    if expected.dtype.kind in "OSU":  # ONNX Runtime gives str where TensorFlow gives bytes
        expected, actual = (np.vectorize(_text, otypes=[object])(v) for v in (expected, actual))
    wrong = int(np.count_nonzero(expected != actual))
    if not wrong:
        return Difference(tensor, 0.0, "equal")
    return Difference(tensor, np.inf, f"{wrong} of {expected.size} values differ")


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _floating(tensor: str, expected: np.ndarray, actual: np.ndarray) -> Difference:
    finite = np.isfinite(expected)
    if not finite.all():
        if not np.array_equal(expected[~finite], actual[~finite], equal_nan=True):
            return Difference(tensor, np.inf, "NaN or Inf where TensorFlow has another value")
        expected, actual = expected[finite], actual[finite]
    if not expected.size:
        return Difference(tensor, 0.0, "equal")
    wide = np.promote_types(expected.dtype, np.float32)
    gap = float(np.max(np.abs(np.subtract(expected, actual, dtype=wide))))
    scale = float(np.max(np.abs(expected)))
    if not np.isfinite(gap) and not np.isfinite(actual).all():
        return Difference(tensor, np.inf, "NaN or Inf where TensorFlow has a number")
    if gap == 0:
        return Difference(tensor, 0.0, "equal")
    # Rounding of a narrow dtype is no fault: measure in units in which float32's is what it is.
    leniency = max(1.0, float(np.finfo(expected.dtype).eps) / float(np.finfo(np.float32).eps))
    ratio = gap / scale / leniency if scale else np.inf
    return Difference(tensor, ratio, f"it differs by {gap:.2g} where values reach {scale:.2g}")
