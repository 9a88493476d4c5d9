"""What benchmarks share that write a file of results and tables of a document."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import tables

RESULTS = Path(__file__).parent / "results"


def define_flags(name: str) -> None:
    """--output, by default `results/NAME.json`, and --docs.

    Not at import: other benchmarks have flags of the same names.
    """
    flags.DEFINE_string("docs", None, "Markdown file whose generated tables are renewed.")
    flags.DEFINE_string("output", str(RESULTS / f"{name}.json"), "Results as JSON.")
    for flag in ("docs", "output"):  # which --help of the benchmark tells too
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[flag])


def refuse_arguments(argv: Sequence[str]) -> None:
    """Raise app.UsageError if anything but flags was given."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")


def record(results: Any, blocks: Mapping[str, str]) -> None:
    """Write the results to --output; print the tables, block name -> text, and renew --docs."""
    Path(flags.FLAGS.output).write_text(json.dumps(results, indent=1) + "\n")
    show(blocks)


def show(blocks: Mapping[str, str]) -> None:
    """Print the tables and renew --docs."""
    for block, text in blocks.items():
        print(text)
        if flags.FLAGS.docs:
            tables.write_block(Path(flags.FLAGS.docs), block, text)
