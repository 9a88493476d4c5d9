"""What rounding alone does to models of the test suite, beside what a sound conversion does.

    python -m benchmarks.rounding --work_dir=DIRECTORY --docs=docs/validation.md

Both as SNR in dB of the output that rounding moves most, on two inputs: the original's weights and
inputs moved to neighbouring floats, and the FP32 conversion's ONNX in ONNX Runtime. No GPU.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from benchmarks import recording, tables
from tests.models import zoo
from tftrt_toolkit import ToolkitOptions, TrtGraphConverterV2, ValidationOptions, validate
from tftrt_toolkit.validation import DEFAULT_TOLERANCES
from tftrt_toolkit.validation.models import LocalModel
from tftrt_toolkit.validation.rounding import loosened, rounding_errors

MODELS = (
    "resnet50", "mobilenetv2", "efficientnetb0", "densenet121", "bert", "gpt", "lstm",
)  # fmt: skip
KEY = "serving_default"
BLOCK = "rounding"


@dataclasses.dataclass(frozen=True)
class Row:
    """SNRs in dB of the output that rounding moves most, and FP32's limit for it."""

    model: str
    rounding: float
    conversion: float
    limit: float


def measure(name: str, saved: Path) -> Row:
    """Nudge the original, convert it, and compare the conversion, emulated."""
    model = zoo.MODELS[name]
    if not saved.exists():
        model.save(saved)
    inputs = {key: array[:2] for key, array in model.inputs(size="opt").items()}
    rounding = rounding_errors(LocalModel(saved), KEY, inputs, 0)
    worst = min(rounding, key=lambda output: rounding[output].snr_db)
    with tempfile.TemporaryDirectory() as folder:
        converter = TrtGraphConverterV2(
            str(saved),
            use_dynamic_shape=True,
            options=ToolkitOptions(check=False, signature_keys=[KEY]),
        )
        converter.convert()
        converter.save(f"{folder}/model")
        options = ValidationOptions(signature_keys=(KEY,))
        report = validate(saved, f"{folder}/model", [inputs], options=options)
    errors = {one.name: one.errors for one in report.signatures[0].outputs}
    limit = loosened(DEFAULT_TOLERANCES["FP32"], rounding[worst]).min_snr_db
    return Row(name, rounding[worst].snr_db, errors[worst].snr_db, limit)


def render(rows: Sequence[Row]) -> str:
    """A row a model."""
    header = ["model", "rounded once more, dB", "sound conversion, dB", "limit, dB"]
    body = [
        [row.model, *(f"{one:.1f}" for one in (row.rounding, row.conversion, row.limit))]
        for row in rows
    ]
    return tables.table(header, body)


def main(argv: Sequence[str]) -> None:
    """Measure, write the results, renew the table."""
    recording.refuse_arguments(argv)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(flags.FLAGS.work_dir or folder)
        rows = [measure(name, work / name) for name in MODELS]
    recording.record([dataclasses.asdict(row) for row in rows], {BLOCK: render(rows)})


if __name__ == "__main__":
    flags.DEFINE_string("work_dir", None, "Where the SavedModels are kept for the next run.")
    recording.define_flags("rounding")
    app.run(main)
