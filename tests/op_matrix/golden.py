"""The record of what converts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.op_matrix.chain import Outcome

GOLDEN = Path(__file__).parent / "converts.txt"


def golden_text(outcomes: Mapping[str, Outcome]) -> str:
    """One line a case that converts, or that at least has a right ONNX form ("mapped")."""
    lines = []
    for name, outcome in sorted(outcomes.items()):
        if outcome.mapped or outcome.converts:
            lines.append(f"{'converts' if outcome.converts else 'mapped'} {name}")
    converts = sum(line.startswith("converts") for line in lines)
    title = f"# Of {len(outcomes)} cases, {converts} convert; {len(lines)} have a right ONNX form."
    return "\n".join([title, *lines]) + "\n"
