"""The precision file: which nodes stay in higher precision, as lines to review and edit.

    # segment            node                      precision   # reason
    TRTEngineOp_000_000  encoder/layer_norm_3/*    FP32        # adds 0.12 relative error

Segment and node are `fnmatch` patterns; the first line that matches a node counts.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable
from pathlib import Path

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.files import write_text
from tftrt_toolkit.precision.apply import PrecisionOptions

_HEADER = (
    "# tftrt_toolkit precision file: segment, node, precision (FP32, or FP16 for not quantized)"
)
_PRECISIONS = ("FP32", "FP16", "BF16")


@dataclasses.dataclass(frozen=True)
class Override:
    """One line. `precision` FP32 keeps a node FP32; FP16 or BF16 keep it from being quantized."""

    segment: str
    node: str
    precision: str
    reason: str = ""


def save_overrides(path: Path | str, overrides: Iterable[Override]) -> None:
    """Write a precision file."""
    lines = [_HEADER]
    for one in overrides:
        reason = f"  # {one.reason}" if one.reason else ""
        lines.append(f"{one.segment}  {one.node}  {one.precision}{reason}")
    write_text(path, "\n".join(lines) + "\n")


def load_overrides(path: Path | str) -> list[Override]:
    """Read a precision file. Raises InvalidArgumentError, with the line, if it can't be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"precision file {path} can't be read: {error}") from error
    overrides = []
    for number, line in enumerate(text.splitlines(), 1):
        content, _, reason = line.partition("#")
        fields = content.split()
        if not fields:
            continue
        if len(fields) != 3 or fields[2].upper() not in _PRECISIONS:
            raise InvalidArgumentError(
                f"{path}, line {number}: {line.strip()!r} is not 'segment node precision' with one "
                f"of {', '.join(_PRECISIONS)}"
            )
        segment, node, precision = fields
        overrides.append(Override(segment, node, precision.upper(), reason.strip()))
    return overrides


def with_overrides(
    options: PrecisionOptions, overrides: Iterable[Override], segment: str
) -> PrecisionOptions:
    """The options of one segment, with the lines that speak of it."""
    fitting = [one for one in overrides if fnmatch.fnmatchcase(segment, one.segment)]
    fp32 = tuple(one.node for one in fitting if one.precision == "FP32")
    floats = tuple(one.node for one in fitting if one.precision != "FP32")
    return dataclasses.replace(
        options,
        keep_fp32=options.keep_fp32 + fp32,
        keep_float=options.keep_float + floats,
    )
