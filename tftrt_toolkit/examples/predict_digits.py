"""Run a digits model on the held-out digits: `predict_digits MODEL EXECUTOR RESULT.npz`.

The result holds `logits`, float32 [797, 10], and `accuracy`, a fraction.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import tftrt_toolkit
from tftrt_toolkit.examples.digits import load_held_out

_BATCH = 100


def predict(model_dir: Path, executor: str) -> tuple[np.ndarray, float]:
    """Logits of the held-out digits, and the share of them that are right."""
    model = tftrt_toolkit.load(str(model_dir), executors=[executor])
    digits = load_held_out()
    function = model.signatures["serving_default"]
    logits = np.concatenate(
        [function(image=batch.images)["logits"].numpy() for batch in digits.batches(_BATCH)]
    )
    return logits, float((logits.argmax(axis=1) == digits.labels).mean())


def main() -> None:
    """Predict, and save."""
    model_dir, executor, result = sys.argv[1:]
    logits, accuracy = predict(Path(model_dir), executor)
    np.savez(result, logits=logits, accuracy=accuracy)


if __name__ == "__main__":
    main()
