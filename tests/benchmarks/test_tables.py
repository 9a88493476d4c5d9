"""Generated tables replace what stood between their markers, and nothing else."""

import pytest

from benchmarks import tables

TEXT = "before\n<!-- cost: generated -->\nold\n<!-- end of cost -->\nafter\n"


def test_table_aligns_figures_to_the_right():
    found = tables.table(["model", "s"], [["a", "1.0"]])
    assert found == "| model | s |\n| :-- | --: |\n| a | 1.0 |\n"


def test_write_block_keeps_the_rest(tmp_path):
    file = tmp_path / "README.md"
    file.write_text(TEXT)
    tables.write_block(file, "cost", "new\n")
    assert file.read_text() == TEXT.replace("old", "new")
    assert tables.read_block(file.read_text(), "cost") == "new\n"


def test_missing_markers_are_an_error(tmp_path):
    file = tmp_path / "README.md"
    file.write_text(TEXT)
    with pytest.raises(ValueError, match="speed"):
        tables.write_block(file, "speed", "new\n")
    assert file.read_text() == TEXT
