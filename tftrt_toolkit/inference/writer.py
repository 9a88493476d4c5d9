"""Rows of predictions as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.inference.run import Row

# More columns than spreadsheets take.
_MOST_VALUES = 10_000


def to_json(rows: Iterable[Row]) -> str:
    """A list with an object for each row."""
    return json.dumps([_entry(row) for row in rows], indent=1) + "\n"


def to_csv(rows: Iterable[Row]) -> str:
    """A line for each row: `OUTPUT.class_1`, `.label_1`, `.score_1`, ... or `OUTPUT.0`, `.1`, ...

    Rows of other columns than the ones before them get a header of their own. Raises
    InvalidArgumentError for an output of more values than a line can hold.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    header: list[str] = []
    for row in rows:
        flat = _flat(row)
        if list(flat) != header:
            header = list(flat)
            writer.writerow(header)
        writer.writerow(flat.values())
    return file.getvalue()


def _entry(row: Row) -> dict[str, Any]:
    entry: dict[str, Any] = {"input": row.source}
    if row.index is not None:
        entry["index"] = row.index
    for name, found in row.classes.items():
        entry[name] = [
            {"class": one.index}
            | ({"label": one.label} if one.label else {})
            | {"score": one.score}
            for one in found
        ]
    for name, values in row.values.items():
        entry[name] = _plain(np.asarray(values).tolist())
    return entry


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {"input": row.source}
    if row.index is not None:
        flat["index"] = row.index
    for name, found in row.classes.items():
        for rank, one in enumerate(found, 1):
            flat[f"{name}.class_{rank}"] = one.index
            if one.label:
                flat[f"{name}.label_{rank}"] = one.label
            flat[f"{name}.score_{rank}"] = one.score
    for name, values in row.values.items():
        array = np.asarray(values)
        if array.size > _MOST_VALUES:
            raise InvalidArgumentError(
                f"output {name!r} has {array.size} values for each input, too many for CSV: "
                "write JSON"
            )
        column = name if not array.ndim else f"{name}.{{}}"
        for place, value in enumerate(_plain(array.ravel().tolist())):
            flat[column.format(place)] = value
    return flat


def _plain(value: Any) -> Any:
    """JSON has no bytes, and no number that isn't finite."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
