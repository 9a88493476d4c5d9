"""The table of `benchmarks.gpu_executors` in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.tables import table

COLUMNS = {
    "tensorflow": "TensorFlow",
    "tensorflow_xla": "TF + XLA",
    "onnxruntime_alone": "ONNX Runtime alone",
    "native": "`native`",
    "xla": "`xla`",
    "onnxruntime": "`onnxruntime`",
    "tuned": "tuned",
}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """One line a row; the last column is the best column's time over the tuned model's."""
    lines = []
    for row in rows:
        times = row["ms"]
        cells = [f"{times[name]:.2f}" if name in times else "–" for name in COLUMNS]
        if "tuned" in times:
            cells[-1] += f" ({', '.join(row['tuned'])})"
        best = min((time for name, time in times.items() if name != "tuned"), default=None)
        share = f"{best / times['tuned']:.2f}" if best and "tuned" in times else "–"
        label = f"{row['model']} {row['precision']}, {row['batch']}"
        lines.append([label, *cells, share])
    return table(["model, batch", *COLUMNS.values(), "best / tuned"], lines)
