"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replaced_file(path: Path | str) -> Iterator[Path]:
    """A file to write, beside `path`, whose place it takes at the end.

    An error leaves `path` as it was and nothing beside it. A pipe or a device is written directly.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()  # of a symbolic link, the file it stands for
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    with replaced_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
