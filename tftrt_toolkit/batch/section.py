"""A YAML file, read key by key, with errors that say where.

Scalars stay as they are written until a parser reads them: YAML would make 1.1 of `1.10` and, in
base 60, 3848 of the shape range `1:4:8`.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tftrt_toolkit.errors import InvalidArgumentError

Value = TypeVar("Value")
_REQUIRED: Any = object()


class _Loader(yaml.BaseLoader):
    """Refuses keys that are there twice, of which YAML would take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is there twice",
                    problem_mark=node.value[index][0].start_mark,
                )
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Section:
    """The mapping in a YAML file. Raises InvalidArgumentError, without the path, in one line."""
    try:
        return Section(yaml.load(path.read_text(encoding="utf-8"), _Loader))
    except OSError as error:
        raise InvalidArgumentError(f"can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError("is no UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "no YAML"
        raise InvalidArgumentError(f"{line}{problem}") from error


@contextlib.contextmanager
def at(where: str) -> Iterator[None]:
    """Put the place before the message of an InvalidArgumentError that is raised inside."""
    try:
        yield
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{where}: {error}") from error


class Section:
    """A mapping whose keys are taken one after the other; what nobody takes is unknown."""

    def __init__(self, content: Any) -> None:
        """Raises InvalidArgumentError unless `content` is a mapping of strings."""
        if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
            raise InvalidArgumentError(f"must be a mapping of keys to values, not {content!r}")
        self._content = dict(content)
        self._known: list[str] = []

    def take(self, key: str, parse: Callable[[Any], Value], default: Value = _REQUIRED) -> Value:
        """The parsed value of a key, `default` where it is absent or empty."""
        self._known.append(key)
        value = self._content.pop(key, None)
        if value is None or value == "":
            if default is _REQUIRED:
                raise InvalidArgumentError(f"{key} is missing")
            return default
        with at(key):
            return parse(value)

    def take_all(self, parsers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
        """Key -> parsed value, of those that are there."""
        taken = {key: self.take(key, parse, None) for key, parse in parsers.items()}
        return {key: value for key, value in taken.items() if value is not None}

    def finish(self) -> None:
        """Raise InvalidArgumentError for a key that nobody took."""
        for key in self._content:
            close = difflib.get_close_matches(key, self._known, 1)
            hint = f"is {close[0]} meant?" if close else f"choose from {', '.join(self._known)}"
            raise InvalidArgumentError(f"unknown key {key!r}: {hint}")


def text(value: Any) -> str:
    """A scalar, as it is written."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"must be text, not {value!r}")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of strings, or one."""
    return tuple(text(item) for item in (value if isinstance(value, list) else [value]))


def whole(value: Any) -> int:
    """A whole number."""
    try:
        return int(text(value))
    except ValueError:
        raise InvalidArgumentError(f"must be a whole number, not {value!r}") from None


def positive(value: Any) -> int:
    """A whole number of 1 or more."""
    if whole(value) < 1:
        raise InvalidArgumentError(f"must be at least 1, not {value}")
    return whole(value)


def number(value: Any) -> float:
    """A number."""
    try:
        return float(text(value))
    except ValueError:
        raise InvalidArgumentError(f"must be a number, not {value!r}") from None


def amount(value: Any) -> float:
    """A number above 0."""
    found = number(value)
    if not 0 < found < float("inf"):
        raise InvalidArgumentError(f"must be more than 0, not {value}")
    return found


def pair(value: Any) -> tuple[float, float]:
    """Two numbers."""
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidArgumentError(f"must be two numbers, like [0, 1], not {value!r}")
    return number(value[0]), number(value[1])


def yes_no(value: Any) -> bool:
    """True or false."""
    if value not in ("true", "false"):
        raise InvalidArgumentError(f"must be true or false, not {value!r}")
    return bool(value == "true")


def unchanged(value: Any) -> Any:
    """Whatever it is."""
    return value


def path_in(folder: Path) -> Callable[[Any], Path]:
    """A parser of paths, relative ones being in `folder`; `~` is the home directory."""
    return lambda value: Path(os.path.normpath(folder / Path(text(value)).expanduser()))


def entries(value: Any) -> list[Any]:
    """A list that isn't empty."""
    if not isinstance(value, list) or not value:
        raise InvalidArgumentError("must be a list with at least one entry")
    return value


def mapping(parse: Callable[[Any], Value]) -> Callable[[Any], dict[str, Value]]:
    """A parser of mappings whose values `parse` reads."""

    def read(value: Any) -> dict[str, Value]:
        section = Section(value)
        found = {key: section.take(key, parse) for key in value}
        section.finish()
        return found

    return read
