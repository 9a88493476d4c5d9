"""What both models said of each input, as JSON or CSV for other tools; written as it comes."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.validation.agreement import looks_like_classifier, top_classes
from tftrt_toolkit.validation.deviation import is_float
from tftrt_toolkit.validation.models import Arrays
from tftrt_toolkit.validation.sources import Batch

SUFFIXES = (".json", ".csv")


class PredictionWriter:
    """One row an input: its number, signature, batch and label, and for every output the greatest
    |error| or the count of unequal values; for classifiers both models' first class and its score.
    Use as a context manager.
    """

    def __init__(self, path: Path) -> None:
        """Raises InvalidArgumentError unless the file's name ends with .json or .csv."""
        if path.suffix not in SUFFIXES:
            raise InvalidArgumentError(
                f"predictions go to a file named *{' or *'.join(SUFFIXES)}, not {path.name!r}"
            )
        self._path = path
        self._rows = 0
        self._columns: list[str] = []

    def __enter__(self) -> PredictionWriter:
        """Open the file."""
        self._file = self._path.open("w", newline="")
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the file."""
        if self._path.suffix == ".json":
            self._file.write("\n]\n" if self._rows else "[]\n")
        self._file.close()

    def write(
        self, key: str, index: int, first: int, batch: Batch, original: Arrays, converted: Arrays
    ) -> None:
        """Add a batch, whose first input has the number `first`."""
        columns = {
            name: _columns(name, original[name], converted[name], batch.size) for name in original
        }
        for row in range(batch.size):
            entry: dict[str, Any] = {"input": first + row, "signature": key, "batch": index}
            if batch.labels is not None:
                entry["label"] = np.asarray(batch.labels[row]).tolist()
            for name, values in columns.items():
                entry |= {f"{name}.{field}": value[row] for field, value in values.items()}
            self._write_row(entry)

    def _write_row(self, entry: Mapping[str, Any]) -> None:
        if self._path.suffix == ".json":
            self._file.write("[\n" if not self._rows else ",\n")
            self._file.write(json.dumps(entry))
        else:
            # Signatures of other outputs get a header of their own.
            if list(entry) != self._columns:
                self._columns = list(entry)
                csv.writer(self._file).writerow(self._columns)
            csv.writer(self._file).writerow(entry.values())
        self._rows += 1


def _columns(
    name: str, original: np.ndarray, converted: np.ndarray, size: int
) -> dict[str, list[Any]]:
    if original.shape[:1] != (size,):  # not an output for each input
        return {}
    if not is_float(original):
        wrong = (original != converted).reshape(size, -1).sum(axis=1)
        return {"unequal": wrong.tolist()}
    error = np.abs(original.astype(np.float64) - converted.astype(np.float64)).reshape(size, -1)
    found = {"max_error": [_number(value) for value in error.max(axis=1, initial=0.0)]}
    if looks_like_classifier(name, original):
        for model, scores in (("original", original), ("converted", converted)):
            found[f"{model}_class"] = top_classes(scores).tolist()
            found[f"{model}_score"] = [_number(value) for value in scores.max(axis=1)]
    return found


def _number(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(value)
