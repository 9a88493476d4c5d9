"""Find the fastest executors for a converted model on this machine, and keep them in the model.

  tune_model --saved_model_dir=CONVERTED --inputs=DIRECTORY
  tune_model --saved_model_dir=CONVERTED --batch_sizes=1,8,64

Each segment is timed with each executor on the first batch of each shape; whoever loads the model
on such a GPU (or on a CPU, if it was tuned on one) has it run by the winners. Winners of other
devices and shapes stay; the model works at any moment. Use the machine for nothing else meanwhile.

Exit codes: 0 done; 1 can't be tuned, said in one line; 2 wrong flags; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags

from tftrt_toolkit import runtime
from tftrt_toolkit.cli import common
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.tuning import tune_model
from tftrt_toolkit.validation.sources import from_directory, from_seed

_MODEL = flags.DEFINE_string("saved_model_dir", None, "The converted SavedModel; it is changed.")
_INPUTS = flags.DEFINE_string(
    "inputs", None, "Directory of .npz, TFRecord or image files; without it inputs are random."
)
_BATCHES = flags.DEFINE_list("batch_sizes", ["1", "8"], "Of random inputs, records and images.")
_SIGNATURE = flags.DEFINE_string("signature_key", "serving_default", "The signature to run.")
_TAGS = flags.DEFINE_list("saved_model_tags", ["serve"], "Tags of the meta graph.")
_EXECUTORS = flags.DEFINE_list("executors", list(runtime.CANDIDATES), "Those to choose from.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of random inputs.")


def tune() -> int:
    """Tune as the flags say; returns the exit code."""
    for gpu in tf.config.list_physical_devices("GPU"):  # ONNX Runtime needs memory beside it
        tf.config.experimental.set_memory_growth(gpu, True)
    sizes = _batch_sizes()
    winners = tune_model(
        _MODEL.value,
        lambda specs: _batches(specs, sizes),
        signature_key=_SIGNATURE.value,
        tags=_TAGS.value,
        executors=_EXECUTORS.value,
    )
    for resource, found in winners.items():
        for winner in found:
            shapes = ", ".join(f"{name} {list(shape)}" for name, shape in winner.shapes.items())
            times = ", ".join(
                f"{name} {1e3 * seconds:.3g} ms" for name, seconds in winner.seconds.items()
            )
            print(f"{resource} on {winner.device}, {shapes}: {winner.executor} ({times})")
    print(f"saved {_MODEL.value}", file=sys.stderr)
    return common.EXIT_OK


def _batch_sizes() -> list[int]:
    if not all(text.isdigit() and int(text) > 0 for text in _BATCHES.value):
        raise InvalidArgumentError(
            f"--batch_sizes={','.join(_BATCHES.value)} is not a list of positive numbers: "
            "write it like 1,8,64"
        )
    return [int(text) for text in _BATCHES.value]


def _batches(
    specs: Mapping[str, tf.TensorSpec], sizes: list[int]
) -> Iterator[Mapping[str, np.ndarray]]:
    for size in sizes:
        if _INPUTS.value:
            source = from_directory(Path(_INPUTS.value), specs, size)
        else:
            source = from_seed(specs, _SEED.value, batches=1, size=size)
        yield from (batch.inputs for batch in source)


def main() -> None:
    """Entry point of `scripts/tune_model.py`."""
    common.run(tune, required=["saved_model_dir"])
