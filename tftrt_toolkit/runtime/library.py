"""Compile the op library against the installed TensorFlow, once, and keep it.

The compiled library is cached by TensorFlow's version and the sources' hash in a directory that
only the user can write: what lies there is loaded into the process.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import tensorflow as tf
from absl import logging

from tftrt_toolkit.errors import MissingDependencyError, RuntimeLoadError

_SOURCES = Path(__file__).parent / "ops"
_MAIN = "library.cc"
# Headers that some wheel's own headers include and don't bring along; looked in last.
_ABSENT = _SOURCES / "absent"
# -O1: the kernel only hands pointers on, and it compiles in two thirds of the time of -O2.
_FLAGS = ("-shared", "-fPIC", "-O1", "-w")
_COMPILE_SECONDS = 600


def library_path() -> Path:
    """The compiled library for this TensorFlow; compiles it if it isn't cached.

    Raises MissingDependencyError without a compiler, RuntimeLoadError if compiling fails or the
    cache directory isn't private.
    """
    directory = _private_directory(cache_directory())
    library = directory / f"tftrt_ops-tf{tf.__version__}-{_source_key()}.so"
    if library.exists():
        return library
    # Only needed to compile, so a machine with a filled cache does without.
    import filelock

    with filelock.FileLock(library.with_suffix(".lock")):
        if not library.exists():
            _compile(library)
    return library


def cache_directory() -> Path:
    """Where compiled libraries are kept."""
    chosen = os.environ.get("TFTRT_TOOLKIT_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).expanduser().absolute() / "tftrt_toolkit"


def _private_directory(directory: Path) -> Path:
    """`directory`, made if it is missing; refused if anyone else could put a library there."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = directory.resolve(strict=True)
        status = directory.stat()
    except OSError as error:
        raise RuntimeLoadError(
            f"the cache directory {directory} can't be used ({error.strerror}): "
            "set TFTRT_TOOLKIT_CACHE_DIR to a directory of your own"
        ) from error
    reason = None
    if status.st_uid != os.getuid():
        reason = "belongs to another user"
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        reason = "can be written by others"
    for parent in directory.parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            reason = f"lies in {parent}, which everyone can write"
    if reason:
        raise RuntimeLoadError(
            f"the cache directory {directory} {reason}, so a library there can't be trusted: "
            "chmod 700 it, or set TFTRT_TOOLKIT_CACHE_DIR to a directory of your own"
        )
    return directory


def _source_key() -> str:
    """Hash over all that the compiled library depends on, but for the compiler."""
    digest = hashlib.sha256()
    # Paths of the headers differ from machine to machine and change nothing.
    flags = [flag for flag in tf.sysconfig.get_compile_flags() if not flag.startswith("-I")]
    for part in (tf.version.GIT_VERSION, *flags, *_FLAGS):
        digest.update(part.encode() + b"\0")
    for source in sorted(_SOURCES.rglob("*")):
        if source.suffix in (".cc", ".h"):
            digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def _compile(library: Path) -> None:
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        raise MissingDependencyError(
            f"the compiler {compiler} isn't there and TensorFlow {tf.__version__} needs the op "
            "library compiled once: install g++ (e.g. apt-get install g++), or set CXX"
        )
    # A warning, because it is the one level seen by default, and the user waits.
    logging.warning("compiling the ops for TensorFlow %s, once, into %s", tf.__version__, library)
    handle, unfinished = tempfile.mkstemp(suffix=".so", dir=library.parent)
    os.close(handle)
    command = [
        compiler, *_FLAGS, "-o", unfinished, str(_SOURCES / _MAIN),
        *tf.sysconfig.get_compile_flags(), f"-I{_ABSENT}", *tf.sysconfig.get_link_flags(),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False
        )
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if "error" in line]
            words = (lines or done.stderr.splitlines() or ["it said nothing"])[0]
            raise RuntimeLoadError(
                f"the ops don't compile against TensorFlow {tf.__version__}: {words}; "
                f"run by hand to see all: {' '.join(command)}"
            )
        os.replace(unfinished, library)
    except subprocess.TimeoutExpired as error:
        raise RuntimeLoadError(
            f"{compiler} was still compiling the ops after {_COMPILE_SECONDS} s: "
            "is the machine out of memory?"
        ) from error
    finally:
        Path(unfinished).unlink(missing_ok=True)
