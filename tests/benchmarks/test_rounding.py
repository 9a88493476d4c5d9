"""The recorded figures: sound conversions meet the limits, and the page's table is theirs."""

import json
from pathlib import Path

from benchmarks import recording, rounding, tables

DOCS = Path(__file__).parents[2] / "docs" / "validation.md"


def test_sound_conversions_meet_their_limits_and_the_table_is_the_record():
    recorded = json.loads((recording.RESULTS / "rounding.json").read_text())
    rows = [rounding.Row(**row) for row in recorded]
    assert [row.model for row in rows] == list(rounding.MODELS)
    assert all(row.conversion >= row.limit for row in rows)
    assert tables.read_block(DOCS.read_text(), rounding.BLOCK) == rounding.render(rows)
