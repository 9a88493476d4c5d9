"""Run a digits model on the held-out digits: `predict_digits MODEL RESULT.npz`.

The result holds `logits`, float32 [797, 10], and `accuracy`, a fraction.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

import tftrt_toolkit  # noqa: F401  registers the engine ops
from tftrt_toolkit.examples.digits import load_held_out

_BATCH = 100


def predict(model_dir: Path) -> tuple[np.ndarray, float]:
    """Logits of the held-out digits, and the share of them that are right."""
    model = tf.saved_model.load(str(model_dir))
    digits = load_held_out()
    function = model.signatures["serving_default"]
    logits = np.concatenate(
        [function(image=batch.images)["logits"].numpy() for batch in digits.batches(_BATCH)]
    )
    return logits, float((logits.argmax(axis=1) == digits.labels).mean())


def main() -> None:
    """Predict, and save."""
    model_dir, result = sys.argv[1:]
    logits, accuracy = predict(Path(model_dir))
    np.savez(result, logits=logits, accuracy=accuracy)


if __name__ == "__main__":
    main()
