"""The table of `make test-matrix`."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("test_matrix", ROOT / "scripts" / "test_matrix.py")


@pytest.fixture(scope="module")
def matrix():
    module = importlib.util.module_from_spec(SPEC)
    sys.modules[SPEC.name] = module  # where its dataclass looks for its annotations
    SPEC.loader.exec_module(module)
    return module


def test_what_failed_is_seen_in_the_table(matrix):
    rows = [
        matrix.Result("2.20.0", "3.11.7", 9.6, 12, 1, 0),
        matrix.Result("2.21.0", "3.11.7", 10.0, 12, 0, 2),
        matrix.Result("2.22.0", "", None, 0, 0, 0),
    ]
    assert [row.good for row in rows] == [True, False, False]
    lines = matrix.table(rows).splitlines()
    assert lines[2] == "| 2.20.0 | 3.11.7 | in 10 s | 12 passed, 1 skipped, 0 failed |"
    assert lines[3].endswith("12 passed, 0 skipped, 2 failed |")
    assert lines[4] == "| 2.22.0 |  | no | 0 passed, 0 skipped, 0 failed |"


def test_only_what_stands_between_the_markers_changes(matrix, tmp_path, monkeypatch):
    document = tmp_path / "README.md"
    document.write_text(f"before\n{matrix.BEGIN}\nold\n{matrix.END}\nafter\n")
    monkeypatch.setattr(matrix, "TABLES", (document, tmp_path / "missing.md"))
    matrix.write_tables("new")
    assert document.read_text() == f"before\n{matrix.BEGIN}\nnew\n{matrix.END}\nafter\n"


def test_the_documents_hold_the_table_of_every_version(matrix):
    for document in matrix.TABLES:
        text = document.read_text()
        table = text[text.index(matrix.BEGIN) : text.index(matrix.END)]
        assert all(f"\n| {version} | " in table for version in matrix.VERSIONS)
        assert " 0 failed |" in table
        assert "| no |" not in table
