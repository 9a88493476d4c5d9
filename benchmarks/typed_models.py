"""The table of what TensorRT-RTX's builder made of the model suite, as the slow tests record it.

pytest -m slow tests/models/test_typed.py
python -m benchmarks.typed_models --docs=docs/precision.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import recording, tables

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "typed_models.json"
BLOCK = "typed models"
PRECISIONS = ("FP16", "BF16", "INT8", "FP8")


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a model: plans, nodes that stay FP32, quantized nodes that reached a low kernel."""
    rows = []
    for name, found in sorted(results.items()):
        half = found["FP16"]
        plans = "all" if all(all(found[one]["plans"]) for one in PRECISIONS) else "but one"
        low = [f"{found[one]['reached']} of {_quantized(found[one])}" for one in ("INT8", "FP8")]
        rows.append([name, plans, str(half["nodes_in_fp32"]), *low])
    header = ["model", "segments with a plan", "nodes in FP32 (FP16)"]
    return tables.table([*header, "in INT8 kernels", "in FP8 kernels"], rows)


def _quantized(found: Mapping[str, Any]) -> int:
    return int(found["reached"] + found["missed"])


def main(argv: Sequence[str]) -> None:
    """Renew the table."""
    recording.refuse_arguments(argv)
    recording.show({BLOCK: render(json.loads(RESULTS.read_text()))})


if __name__ == "__main__":
    flags.DEFINE_string("docs", None, "Markdown file whose generated table is renewed.")
    app.run(main)
