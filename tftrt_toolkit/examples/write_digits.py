"""Write the held-out digits as .npz batches of `image` and `label`: `write_digits DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tftrt_toolkit.examples.digits import load_held_out

_BATCH = 100


def write(directory: Path) -> None:
    """One file a batch, named so that their order is that of the digits."""
    directory.mkdir(parents=True, exist_ok=True)
    for index, batch in enumerate(load_held_out().batches(_BATCH)):
        np.savez(directory / f"{index:03d}.npz", image=batch.images, label=batch.labels)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
