"""Looks for TensorRT before TensorFlow does, which aborts the process where it finds none."""

from __future__ import annotations

import ctypes

from tftrt_toolkit.errors import MissingDependencyError

Version = tuple[int, int, int]


def require_tensorrt(linked: Version) -> Version:
    """The version of the TensorRT that this TensorFlow would load.

    linked: the version that TensorFlow was built with, which it looks for by its full number.
    Raises MissingDependencyError if its libraries aren't there, or are of another major version or
    an older one.
    """
    names = [f"{stem}.so.{_text(linked)}" for stem in ("libnvinfer", "libnvinfer_plugin")]
    try:
        inference, _ = (ctypes.CDLL(name) for name in names)
    except OSError as error:
        raise MissingDependencyError(
            f"this TensorFlow needs TensorRT {_text(linked)} and can't load it ({error}): install "
            f"it and put its folder on LD_LIBRARY_PATH, or use TensorFlow 2.18 or later, where "
            "this toolkit needs no TensorRT 8"
        ) from error
    loaded = _version_of(inference)
    if loaded[0] != linked[0] or loaded < linked:
        raise MissingDependencyError(
            f"{names[0]} is TensorRT {_text(loaded)}, and this TensorFlow needs {_text(linked)} or "
            f"a later {linked[0]}.x: put the right one first on LD_LIBRARY_PATH"
        )
    return loaded


def _version_of(library: ctypes.CDLL) -> Version:
    """8.6.1 says 8601; from 10.0 on, 10.3.0 says 100300."""
    try:
        number = int(library.getInferLibVersion())
    except AttributeError as error:
        raise MissingDependencyError(
            f"{library._name} isn't TensorRT: it doesn't tell its version"
        ) from error
    thousands = 10000 if number >= 100000 else 1000
    major, rest = divmod(number, thousands)
    return (major, *divmod(rest, 100))


def _text(version: Version) -> str:
    return ".".join(str(part) for part in version)
