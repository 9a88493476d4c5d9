"""Converted models on a GPU, executor by executor, beside TensorFlow, XLA and ONNX Runtime alone.

    python -m benchmarks.gpu_executors --output=benchmarks/results/gpu_executors.json

One row a model, precision and batch. Inputs are on the GPU before the clock starts; a timing is of
many calls behind each other with one wait at the end, divided by their number; a figure is the
least of several. FP16 rows compare with TensorFlow's FP32, since that is what the SavedModel
computes. Differences are from TensorFlow's FP32 on the CPU: with NVIDIA_TF32_OVERRIDE=0 they are
those of the conversion, without it mostly TF32's.

The output is written after each row; rows that it holds already, or that --resume names, are kept
and not measured again. `--models= --resume=a.json,b.json` joins files, and --docs puts the table of
all rows into a Markdown file.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks.gpu_columns import Columns, Subject, convert, machine
from benchmarks.gpu_table import markdown
from benchmarks.tables import write_block

_MODELS = flags.DEFINE_list(
    "models", ["resnet50", "mobilenetv2", "efficientnetb0", "bert", "gpt"], "Of tests/models/zoo."
)
_BATCHES = flags.DEFINE_list("batches", ["1", "8", "64"], "Batch sizes.")
_PRECISIONS = flags.DEFINE_list("precisions", ["FP32", "FP16"], "Precisions to convert to.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timings of each column; the least is reported.")
_SECONDS = flags.DEFINE_float("seconds", 0.15, "Least length of one timing.")
_OUTPUT = flags.DEFINE_string("output", None, "Results as JSON.", required=True)
_RESUME = flags.DEFINE_list("resume", [], "Results of earlier runs, to go on from.")
_DOCS = flags.DEFINE_string("docs", None, "Markdown file whose table `gpu` is replaced.")

Row = dict[str, Any]


def key(row: Row) -> tuple[str, str, int]:
    """What tells rows apart."""
    return row["model"], row["precision"], row["batch"]


class Results:
    """The rows so far, on disk after each."""

    def __init__(self, path: Path, earlier: list[Path]) -> None:
        """Rows of `earlier` files count as measured; where several have one, the last counts."""
        self.path = path
        self.content: dict[str, Any] = {"commands": [], "rows": []}
        for file in [*earlier, path]:
            if file.exists():
                self.join(json.loads(file.read_text()))

    def join(self, other: dict[str, Any]) -> None:
        commands = dict.fromkeys(self.content["commands"] + other.pop("commands", []))
        rows = {key(row): row for row in [*self.content["rows"], *other.pop("rows")]}
        self.content |= other | {"commands": list(commands), "rows": list(rows.values())}

    def has(self, model: str, precision: str, batch: int) -> bool:
        return any(key(row) == (model, precision, batch) for row in self.content["rows"])

    def add(self, row: Row) -> None:
        print(json.dumps(row), flush=True)
        self.join({"rows": [row]})
        self.write()

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self.content, indent=1) + "\n")
        unfinished.replace(self.path)


def measure_model(name: str, directory: Path, results: Results) -> None:
    """All rows of one model that aren't there yet. Models and compilations are shared by rows."""
    batches = list(map(int, _BATCHES.value))
    wanted = [
        (precision, batch)
        for precision in _PRECISIONS.value
        for batch in batches
        if not results.has(name, precision, batch)
    ]
    if not wanted:
        return
    columns = Columns(name, directory, _ROUNDS.value, _SECONDS.value)
    subjects: dict[str, Subject] = {}
    for precision, batch in wanted:
        if precision not in subjects:
            target = directory / f"{name}_{precision}"
            seconds = convert(columns.saved, target, precision)
            subjects[precision] = columns.subject(target, seconds)
        row = columns.measure(subjects[precision], batch)
        results.add({"model": name, "precision": precision, "batch": batch} | row)


def command(arguments: Sequence[str]) -> str:
    """What repeats the figures, wherever they are written to."""
    files = ("--output", "--resume", "--docs")
    flags_of = [one for one in arguments if not one.startswith(files)]
    return " ".join(["python -m benchmarks.gpu_executors", *flags_of, "--output=FILE"])


def main(argv: list[str]) -> None:
    """Measure what is missing."""
    del argv
    results = Results(Path(_OUTPUT.value), [Path(file) for file in _RESUME.value])
    if _MODELS.value:
        results.join(machine() | {"commands": [command(sys.argv[1:])], "rows": []})
    with tempfile.TemporaryDirectory() as scratch:
        for name in _MODELS.value:
            try:
                measure_model(name, Path(scratch), results)
            except Exception as error:  # the other models are still worth their figures
                print(f"{name}: {type(error).__name__}: {str(error)[:2000]}", file=sys.stderr)
    results.write()
    if _DOCS.value:
        write_block(Path(_DOCS.value), "gpu", markdown(results.content["rows"]))


if __name__ == "__main__":
    app.run(main)
