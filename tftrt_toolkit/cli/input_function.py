"""Input functions that a flag names."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tftrt_toolkit.errors import InvalidArgumentError


def import_function(spec: str) -> Callable[[], Iterable[Any]]:
    """Import `FILE.py:FUNCTION` or `MODULE:FUNCTION`; modules of the working directory too.

    What the user's code raises while it is imported is raised. Raises InvalidArgumentError if the
    form is wrong, or file, module or function are not there.
    """
    source, colon, name = spec.rpartition(":")
    if not (source and colon and name):
        raise InvalidArgumentError(
            f"--input_fn={spec} is not of the form FILE.py:FUNCTION or MODULE:FUNCTION"
        )
    module = _from_file(Path(source)) if source.endswith(".py") else _from_path(source)
    function = getattr(module, name, None)
    if not callable(function):
        raise InvalidArgumentError(f"--input_fn={spec}: there is no function {name!r} in {source}")
    return function


def limited(
    function: Callable[[], Iterable[Any]], max_batches: int | None
) -> Callable[[], Iterable[Any]]:
    """The same function, of whose batches only the first `max_batches` are taken; None: all."""
    return lambda: itertools.islice(function(), max_batches)


def _from_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InvalidArgumentError(f"--input_fn: there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _from_path(name: str) -> Any:
    sys.path.insert(0, os.getcwd())
    try:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(name)
    except ModuleNotFoundError as error:
        raise InvalidArgumentError(
            f"--input_fn: there is no module {name!r} ({error}): name one that Python finds from "
            "the working directory, or a file"
        ) from error
    return importlib.import_module(name)
