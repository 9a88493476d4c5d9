"""Stages of a long job: shown while they run, and timed."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from absl import logging

Item = TypeVar("Item")


class Stages:
    """Times named stages and shows the one at work.

    With `show` the stage at work is a live line on a terminal, a plain line of stderr elsewhere;
    without it, each stage is one log line at level INFO.
    `seconds` adds up the time of each stage, in the order of first entry. Stages that run beside
    another one count in full: the sum may pass the whole time.
    """

    def __init__(self, show: bool = False) -> None:
        self.seconds: dict[str, float] = {}
        self._show = show

    @contextlib.contextmanager
    def stage(self, name: str, detail: str = "", *, background: bool = False) -> Iterator[None]:
        """Time what runs inside under `name`; `detail` is shown beside it.

        background: another stage is at work, and has the terminal's line.
        """
        label = f"{name}: {detail}" if detail else name
        start = time.perf_counter()
        try:
            with self._line(label, live=not background):
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def track(self, items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
        """Yield `items`, with a progress bar on a terminal."""
        if not (self._show and sys.stderr.isatty()):
            yield from items
            return
        from rich.console import Console
        from rich.progress import track

        console = Console(stderr=True)
        yield from track(items, description=label, total=total, console=console, transient=True)

    @contextlib.contextmanager
    def _line(self, label: str, live: bool) -> Iterator[None]:
        if self._show and sys.stderr.isatty():
            from rich.console import Console

            with Console(stderr=True).status(label) if live else contextlib.nullcontext():
                yield
            return
        if self._show:
            print(label, file=sys.stderr, flush=True)
        else:
            logging.info("%s", label)
        yield


def peak_rss_bytes() -> int:
    """The most physical memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
