"""How far FP16 moves networks of random weights, beside what FP32 makes of inputs rounded once.

    python -m benchmarks.fp16_sensitivity --docs=docs/precision.md

A network that amplifies differences amplifies roundings too, its first one included. So the FP32
network is run on its inputs and on the same inputs rounded to FP16: where that alone moves the
results nearly as far as FP16 does, the network is to blame, not the conversion. In emulation, CPU.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import recording, tables
from benchmarks.whole_model import whole_model
from tests.models.zoo import MODELS
from tftrt_toolkit.precision import apply_precision, emulate, prepare
from tftrt_toolkit.precision.compare import run

ROOT = Path(__file__).parents[1]
BLOCK = "FP16 sensitivity"


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to run one network, against FP32.

    of_greatest, of_deviation: the greatest difference of its first output, as a share of that
    output's greatest value, and of its standard deviation.
    """

    model: str
    method: str
    of_greatest: float
    of_deviation: float


def measure(name: str, directory: Path) -> list[Row]:
    """FP16, BF16, and FP32 on rounded inputs."""
    MODELS[name].save(directory)
    model = prepare(whole_model(directory))
    batch = tuple(MODELS[name].inputs().values())
    rounded = tuple(one.astype(np.float16).astype(np.float32) for one in batch)
    ((expected, *_),) = run(model, [batch])
    runs = {
        "FP32, inputs rounded to FP16": (model, rounded),
        "FP16": (emulate(apply_precision(model, "FP16")), batch),
        "BF16": (emulate(apply_precision(model, "BF16")), batch),
    }
    rows = []
    for method, (typed, inputs) in runs.items():
        ((found, *_),) = run(typed, [inputs])
        difference = float(np.abs(found - expected).max())
        greatest, deviation = float(np.abs(expected).max()), float(expected.std())
        rows.append(Row(name, method, difference / greatest, difference / deviation))
    return rows


def render(rows: Sequence[Row]) -> str:
    """A table: a row a network, a column a method."""
    methods = list(dict.fromkeys(row.method for row in rows))
    body: dict[str, list[str]] = {}
    for row in rows:
        cells = body.setdefault(row.model, [row.model])
        cells.append(f"{row.of_greatest:.1e} ({row.of_deviation:.1e})")
    return tables.table(["model", *methods], list(body.values()))


def main(argv: Sequence[str]) -> None:
    """Measure, write the results, renew the table."""
    recording.refuse_arguments(argv)
    rows: list[Row] = []
    for name in flags.FLAGS.models:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(name, Path(folder) / name)
    recording.record([dataclasses.asdict(row) for row in rows], {BLOCK: render(rows)})


def define_flags() -> None:
    """Not at import, as `recording.define_flags` says."""
    recording.define_flags("fp16_sensitivity")
    flags.DEFINE_list("models", ["mobilenetv2", "resnet50", "efficientnetb0"], "Of the zoo.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
