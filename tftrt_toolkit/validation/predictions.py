"""What both models said of each input, as JSON or CSV for other tools; written as it comes."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.files import replaced_file
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

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        """`keys`: the signatures to come.

        Raises InvalidArgumentError unless the file's name ends with .json or .csv, and for several
        signatures in CSV, whose columns would differ.
        """
        if path.suffix == ".csv" and len(keys) > 1:
            raise InvalidArgumentError(
                f"{path.name} can hold the rows of one signature, and there are {len(keys)}: "
                "choose one by signature_keys, or write a .json file"
            )
        if path.suffix not in SUFFIXES:
            raise InvalidArgumentError(
                f"predictions go to a file named *{' or *'.join(SUFFIXES)}, not {path.name!r}"
            )
        self._path = path
        self._rows = 0
        self._classifiers: dict[str, set[str]] = {}

    def __enter__(self) -> PredictionWriter:
        """Open the file."""
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(replaced_file(self._path))
            self._file = stack.enter_context(partial.open("w", newline=""))
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the file; after an exception there is none."""
        if kind is None and self._path.suffix == ".json":
            self._file.write("\n]\n" if self._rows else "[]\n")
        self._open.__exit__(kind, error, traceback)

    def write(
        self, key: str, index: int, first: int, batch: Batch, original: Arrays, converted: Arrays
    ) -> None:
        """Add a batch, whose first input has the number `first`."""
        # By the first batch, so that all rows have the same columns.
        classifiers = self._classifiers.setdefault(
            key, {name for name, values in original.items() if looks_like_classifier(name, values)}
        )
        columns = {
            name: _columns(original[name], converted[name], batch.size, name in classifiers)
            for name in original
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
            if not self._rows:
                csv.writer(self._file).writerow(entry)
            csv.writer(self._file).writerow(entry.values())
        self._rows += 1


def _columns(
    original: np.ndarray, converted: np.ndarray, size: int, is_classifier: bool
) -> dict[str, list[Any]]:
    if original.shape[:1] != (size,):  # not an output for each input
        return {}
    if not is_float(original):
        wrong = (original != converted).reshape(size, -1).sum(axis=1)
        return {"unequal": wrong.tolist()}
    error = np.abs(original.astype(np.float64) - converted.astype(np.float64)).reshape(size, -1)
    found = {"max_error": [_number(value) for value in error.max(axis=1, initial=0.0)]}
    if is_classifier:
        for model, scores in (("original", original), ("converted", converted)):
            found[f"{model}_class"] = top_classes(scores).tolist()
            found[f"{model}_score"] = [_number(value) for value in scores.max(axis=1)]
    return found


def _number(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(value)
