"""Convert both digits models in each precision and validate them on the held-out digits.

    python -m tftrt_toolkit.examples.validate_digits OUTPUT_DIR

Prints one line each, and writes OUTPUT_DIR/<model>_<precision>.html and OUTPUT_DIR/validation.json.
Calibrates INT8 on 200 training digits. Without a GPU, what the precision does to the model is
emulated from the typed ONNX that the engines were built from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tftrt_toolkit import ToolkitOptions, TrtGraphConverterV2, ValidationOptions, validate
from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.examples import digits
from tftrt_toolkit.validation import ValidationReport, to_html

MODELS = ("digits_cnn", "digits_vit")
PRECISIONS = ("FP32", "FP16", "INT8")
_BATCH = 100
_CALIBRATION_IMAGES = 200
_SAVED_MODELS = Path(__file__).parents[2] / "saved_models"


def convert(model: str, precision: str, target: Path) -> None:
    """Convert a bundled model into `target`; INT8 is calibrated on training digits."""
    image = (8, 8, 1)
    converter = TrtGraphConverterV2(
        str(_SAVED_MODELS / model),
        use_dynamic_shape=True,
        precision_mode=precision,
        options=ToolkitOptions(
            input_shapes={"image": ShapeRange((1, *image), (32, *image), (_BATCH, *image))},
            compute_capabilities=["8.9"],
        ),
    )
    converter.convert(_calibration if precision == "INT8" else None)
    converter.save(str(target), overwrite=True)


def _calibration() -> Iterator[dict[str, np.ndarray]]:
    train, _ = digits.load_split()
    for start in range(0, _CALIBRATION_IMAGES, _BATCH):
        yield {"image": train.images[start : start + _BATCH]}


def held_out() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels."""
    for batch in digits.load_held_out().batches(_BATCH):
        yield batch.images, batch.labels


def validate_model(model: str, converted: Path) -> ValidationReport:
    """Compare a conversion with the bundled model."""
    options = ValidationOptions(labelled=True, blame=True)
    return validate(_SAVED_MODELS / model, converted, held_out, options=options)


def row(report: ValidationReport, model: str) -> dict[str, Any]:
    """The figures for a table."""
    (result,) = report.signatures
    (output,) = result.outputs
    accuracy = next(metric for metric in result.metrics if metric.name == "accuracy").estimate
    assert output.agreement is not None
    return {
        "model": model,
        "precision": report.precision,
        "passed": report.passed,
        "snr_db": round(output.errors.snr_db, 1),
        "max_scaled": float(f"{output.errors.max_scaled:.2g}"),
        "agreement": round(output.agreement.top1, 5),
        "original_accuracy": round(accuracy.original, 5),
        "accuracy": round(accuracy.converted, 5),
        "difference": round(accuracy.difference, 5),
        "low": round(accuracy.low, 5),
        "high": round(accuracy.high, 5),
    }


def main(output: Path) -> int:
    """Convert, validate and print; returns the exit code."""
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    for model in MODELS:
        for precision in PRECISIONS:
            name = f"{model}_{precision.lower()}"
            convert(model, precision, output / name)
            report = validate_model(model, output / name)
            (output / f"{name}.html").write_text(to_html(report), encoding="utf-8")
            rows.append(row(report, model))
            print(_line(rows[-1]), flush=True)
            for failure in report.failures:
                print(f"  {failure}", flush=True)
    (output / "validation.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(found["passed"] for found in rows) else 1


def _line(found: dict[str, Any]) -> str:
    return (
        f"{'PASS' if found['passed'] else 'FAIL'} {found['model']} {found['precision']}: "
        f"accuracy {found['original_accuracy']:.2%} -> {found['accuracy']:.2%} "
        f"(95 %: {100 * found['low']:+.2f} to {100 * found['high']:+.2f} points), "
        f"SNR {found['snr_db']} dB, same class {found['agreement']:.2%}"
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
