"""Physical memory of other processes, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable

_PAGE = os.sysconf("SC_PAGESIZE")


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; what it shares with others counts in full. 0 once it ended."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):
        return 0


def proportional_bytes(pid: int) -> int:
    """Resident memory of a process, what n processes share counting an nth. 0 once it ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0


def total_bytes(pids: Iterable[int], limit: int) -> int:
    """What processes hold together, exactly where it may be above `limit`, else at most.

    Resident sizes are cheap to read and add up to too much; the exact figure takes the kernel a
    walk through every page.
    """
    pids = list(pids)
    upper = sum(map(resident_bytes, pids))
    return upper if upper <= limit else sum(map(proportional_bytes, pids))
