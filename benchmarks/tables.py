"""Generated tables between markers of a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, all others to the right."""
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: generated -->\n", f"<!-- end of {name} -->"


def read_block(text: str, name: str) -> str:
    """What stands between the markers; raises ValueError if they are missing."""
    begin, end = _markers(name)
    if begin not in text or end not in text:
        raise ValueError(f"no {begin.strip()} ... {end} in the text: add both lines")
    return text.split(begin, 1)[1].split(end, 1)[0]


def write_block(path: Path, name: str, content: str) -> None:
    """Replace what stands between the markers `<!-- NAME: generated -->` and its end."""
    text = path.read_text()
    old = read_block(text, name)
    begin, end = _markers(name)
    path.write_text(text.replace(begin + old + end, begin + content + end))
