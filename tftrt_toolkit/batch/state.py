"""What a batch has done so far, on disk: one small JSON file a model, replaced whole or not at all.

The files are in `<output_dir>/.batch`, beside each model's log. A record with another fingerprint
than the job's is of an older manifest or model, and counts for nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import filelock

from tftrt_toolkit.errors import OutputExistsError
from tftrt_toolkit.files import write_text

_FOLDER = ".batch"
Status = Literal["started", "converted", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What became of one job.

    final: trying again, with nothing changed, can't end otherwise. error: one line, empty where
    there is none. seconds: of the job's own process. peak_rss_bytes: the most memory it held.
    facts: of the conversion, see `convert.facts_of`.
    """

    name: str
    fingerprint: str
    status: Status
    final: bool
    error: str = ""
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def converted(self) -> bool:
        """Whether the model is there."""
        return self.status == "converted"


class StateDirectory:
    """The records and logs of a batch. Several processes, on several machines, may use it."""

    def __init__(self, output_dir: Path) -> None:
        """Nothing is written yet."""
        self._folder = output_dir / _FOLDER

    @contextlib.contextmanager
    def only_run(self) -> Iterator[None]:
        """Hold the batch's lock; raises OutputExistsError if another run has it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self._folder / ".lock", timeout=0):
                yield
        except filelock.Timeout as error:
            raise OutputExistsError(
                f"another batch is writing to {str(self._folder.parent)!r}: "
                "wait for it, or choose another output_dir"
            ) from error

    @contextlib.contextmanager
    def only_job(self, name: str) -> Iterator[None]:
        """Hold one job's lock; what is left of a run that was killed has it for a moment."""
        with filelock.FileLock(self._folder / f"{name}.lock"):
            yield

    def log(self, name: str) -> Path:
        """Where a job's messages go."""
        return self._folder / f"{name}.log"

    def save(self, record: Record) -> None:
        """Keep a record."""
        text = json.dumps(dataclasses.asdict(record), indent=1) + "\n"
        write_text(self._record(record.name), text)

    def load(self, name: str) -> Record | None:
        """The job's record; None if there is none that can be read."""
        try:
            return Record(**json.loads(self._record(name).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _record(self, name: str) -> Path:
        return self._folder / f"{name}.json"
