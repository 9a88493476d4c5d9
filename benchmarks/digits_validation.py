"""Accuracy and errors of the bundled digits models in each precision, as the README shows them.

python -m benchmarks.digits_validation --readme=README.md
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import tables

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "digits_validation.json"
BLOCK = "digits validation"


def measure() -> list[dict[str, Any]]:
    """Convert and validate in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        module = "tftrt_toolkit.examples.validate_digits"
        subprocess.run([sys.executable, "-m", module, scratch], check=True, cwd=ROOT)
        return json.loads((Path(scratch) / "validation.json").read_text())


def render(rows: Iterable[Mapping[str, Any]]) -> str:
    """The table, one row a model and precision."""
    header = ["model", "accuracy", "95 % interval of the change", "same class", "SNR dB", "verdict"]
    cells = [
        [
            f"{row['model']} {row['precision']}",
            f"{row['original_accuracy']:.2%} -> {row['accuracy']:.2%}",
            f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f} points",
            f"{row['agreement']:.2%}",
            f"{row['snr_db']:.1f}",
            "pass" if row["passed"] else "fail",
        ]
        for row in rows
    ]
    return f"\n{tables.table(header, cells)}\n"


def main(_: list[str]) -> None:
    rows = measure()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    if flags.FLAGS.readme:
        tables.write_block(Path(flags.FLAGS.readme), BLOCK, render(rows))


if __name__ == "__main__":
    flags.DEFINE_string("readme", None, "Markdown file whose generated table is renewed.")
    app.run(main)
