"""Shape ranges as people write them: `1x28x28x1:8x28x28x1:64x28x28x1`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.errors import InvalidArgumentError

_EXAMPLE = "1x28x28x1:8x28x28x1:64x28x28x1"


def parse_shapes(entries: Sequence[str]) -> Mapping[str, ShapeRange]:
    """Parse `name:MIN[:OPT[:MAX]]` entries. Raises InvalidArgumentError."""
    ranges = {}
    for entry in entries:
        name, colon, shapes = entry.partition(":")
        if not name or not colon:
            raise InvalidArgumentError(
                f"input_shapes entry {entry!r} is not of the form NAME:MIN[:OPT[:MAX]], "
                f"e.g. images:{_EXAMPLE}"
            )
        ranges[name] = parse_range(shapes)
    return ranges


def parse_range(text: str) -> ShapeRange:
    """Parse `MIN[:OPT[:MAX]]`, each shape written like 1x28x28x1; a scalar is `()`.

    With one shape min, opt and max are the same; with two, opt is max. Raises InvalidArgumentError.
    """
    shapes = text.split(":")
    if len(shapes) > 3:
        raise InvalidArgumentError(
            f"input_shapes: {text!r} is not of the form MIN[:OPT[:MAX]], e.g. {_EXAMPLE}"
        )
    parsed = [_parse_shape(shape) for shape in shapes]
    return ShapeRange(parsed[0], parsed[-1] if len(parsed) < 3 else parsed[1], parsed[-1])


def _parse_shape(text: str) -> tuple[int, ...]:
    if text == "()":
        return ()
    try:
        return tuple(int(dimension) for dimension in text.split("x"))
    except ValueError as error:
        raise InvalidArgumentError(
            f"input_shapes: {text!r} is no shape: write it like 1x28x28x1"
        ) from error
