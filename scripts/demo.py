"""The main job on a bundled model: convert, reload in a fresh process, compare.

Converts the digits CNN to FP32 and FP16 with engines for compute capabilities 8.6, 8.9 and 12.0,
which takes no GPU, and prints accuracy on held-out digits and differences beside the original.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "saved_models" / "digits_cnn"
OUTPUT = ROOT / "demo_output"
CAPABILITIES = "8.6,8.9,12.0"
SHAPES = "image:1x8x8x1:32x8x8x1:128x8x8x1"


def convert(precision: str) -> Path:
    """Convert the model with the command that a user would type; returns where it went."""
    target = OUTPUT / f"digits_cnn_{precision.lower()}"
    command = [
        sys.executable,
        str(ROOT / "scripts" / "convert_saved_model.py"),
        f"--input_saved_model_dir={MODEL}",
        f"--output_saved_model_dir={target}",
        f"--precision_mode={precision}",
        f"--input_shapes={SHAPES}",
        f"--compute_capabilities={CAPABILITIES}",
        f"--report_json={target}.json",
        "--overwrite",
    ]
    print("$", " ".join(command[1:]).replace(f"{ROOT}/", ""), flush=True)
    subprocess.run(command, check=True)
    return target


def predict(model: Path, executor: str) -> dict[str, np.ndarray]:
    """Logits and accuracy on the held-out digits, computed in a fresh process."""
    result = OUTPUT / f"{model.name}_{executor}.npz"
    subprocess.run(
        [sys.executable, "-m", "tftrt_toolkit.examples.predict_digits", model, result],
        check=True,
        cwd=ROOT,
        env=os.environ | {"TFTRT_TOOLKIT_EXECUTORS": executor},
    )
    with np.load(result) as saved:
        return dict(saved)


def main() -> None:
    """Convert, reload, compare, and print the table."""
    OUTPUT.mkdir(exist_ok=True)
    original = predict(MODEL, "native")
    table = Table("model", "executor", "accuracy", "max |difference|", title="797 held-out digits")
    table.add_row("original", "TensorFlow", f"{original['accuracy']:.2%}", "")
    for precision in ("FP32", "FP16"):
        converted = convert(precision)
        for executor in ("native", "onnxruntime"):
            found = predict(converted, executor)
            difference = np.abs(found["logits"] - original["logits"]).max()
            accuracy = f"{found['accuracy']:.2%}"
            table.add_row(f"converted {precision}", executor, accuracy, f"{difference:.2e}")
    Console(width=100).print(table)
    print(
        "native: the segments' own TensorFlow functions, as on a machine without a fitting GPU.\n"
        "onnxruntime: the very typed ONNX that the engines were built from, on the CPU."
    )
    print("\nValidation of both digits models, each precision emulated:", flush=True)
    subprocess.run(
        [sys.executable, "-m", "tftrt_toolkit.examples.validate_digits", OUTPUT / "validation"],
        check=True,
        cwd=ROOT,
    )
    print("pages: demo_output/validation/*.html")


if __name__ == "__main__":
    main()
