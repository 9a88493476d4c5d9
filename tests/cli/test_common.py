import sys

import pytest

from tftrt_toolkit.cli.common import check_suffixes, write_reports
from tftrt_toolkit.errors import InvalidArgumentError, MissingDependencyError

WRITERS = {".txt": str, ".html": repr}


def test_suffixes_are_checked_before_the_work(monkeypatch):
    check_suffixes(["a.txt", "b.html"], WRITERS)
    with pytest.raises(InvalidArgumentError, match=r"--output=a\.pdf .* use one of \.txt, \.html"):
        check_suffixes(["a.pdf"], WRITERS, "output")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    check_suffixes(["a.txt"], WRITERS)
    with pytest.raises(MissingDependencyError, match=r"tftrt_toolkit\[report\]"):
        check_suffixes(["b.html"], WRITERS)


def test_reports_are_written_whole(tmp_path):
    write_reports("text", [tmp_path / "new" / "a.txt", tmp_path / "b.html"], WRITERS)
    assert (tmp_path / "new" / "a.txt").read_text() == "text"
    assert (tmp_path / "b.html").read_text() == "'text'"

    def broken(report):
        raise ValueError(report)

    with pytest.raises(ValueError, match="other"):
        write_reports("other", [tmp_path / "b.html"], {".html": broken})
    assert (tmp_path / "b.html").read_text() == "'text'"
    assert {path.name for path in tmp_path.iterdir()} == {"new", "b.html"}
