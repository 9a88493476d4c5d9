"""A directory that appears whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tftrt_toolkit.errors import OutputExistsError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def check_output(directory: str | Path, overwrite: bool) -> None:
    """Raise OutputExistsError where a model may not be written.

    That is where a file is, or a directory that isn't empty unless `overwrite`.
    """
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise OutputExistsError(f"the output {str(directory)!r} is a file: name a directory")
    if not overwrite and directory.is_dir() and any(directory.iterdir()):
        raise OutputExistsError(
            f"the output directory {str(directory)!r} exists and isn't empty: "
            "choose another or pass overwrite"
        )


@contextlib.contextmanager
def replaced_directory(directory: Path) -> Iterator[Path]:
    """A fresh directory to fill, beside `directory`, whose place it takes at the end.

    An error leaves `directory` as it was; a kill leaves the old or the new, never a half. What a
    killed process left beside it is cleared by the next that comes here.
    """
    directory = directory.absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{directory.name}.saving-"
    for left in directory.parent.glob(f"{glob.escape(prefix)}*"):
        with _locked(left) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
    with _locked(scratch), _removed(scratch):
        fresh = scratch / directory.name
        fresh.mkdir()
        yield fresh
        if directory.is_dir() and any(directory.iterdir()):
            _exchange(fresh, directory, scratch / "replaced")
        else:
            fresh.replace(directory)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[bool]:
    """Hold a directory's lock, which a process that dies lets go; False if another has it."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _removed(directory: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(directory)


def _exchange(first: Path, second: Path, spare: Path) -> None:
    """Swap two directories: at once where kernel and file system can, else through `spare`."""
    libc = ctypes.CDLL(None, use_errno=True)
    exchange = getattr(libc, "renameat2", None)
    if exchange is not None:
        paths = os.fsencode(first), os.fsencode(second)
        if exchange(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
            return
    second.rename(spare)
    first.rename(second)
