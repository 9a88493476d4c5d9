"""Wall time and peak memory of a whole process, with a cap on its memory.

`run()` starts this very file as a small launcher, which starts the command. Without it the figure
would be wrong: Linux counts the memory of the forking process in its child's peak.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

GIB = 2**30
_PERIOD_S = 0.05
_PAGE = os.sysconf("SC_PAGESIZE")


@dataclasses.dataclass(frozen=True)
class Measured:
    """What one run took.

    seconds: wall time from start to end. peak_rss_bytes: greatest resident memory of the process,
    or of a child that it waited for. returncode: as in `subprocess`. killed: why it was ended
    early ("memory" or "time"), or "".
    """

    seconds: float
    peak_rss_bytes: int
    returncode: int
    killed: str = ""


def run(
    command: Sequence[str],
    log: Path,
    *,
    memory_limit: int = 0,
    timeout: float = 0.0,
    env: Mapping[str, str] | None = None,
) -> Measured:
    """Run a command to its end, its output in `log`; kill it beyond `memory_limit` bytes of
    resident memory or `timeout` seconds (0: no limit).
    """
    with tempfile.TemporaryDirectory() as scratch, log.open("wb") as output:
        result = Path(scratch) / "result.json"
        launcher = [sys.executable, "-I", "-S", __file__, str(result)]
        limits = [str(memory_limit), str(timeout)]
        subprocess.run(
            [*launcher, *limits, *command], stdout=output, stderr=output, env=env, check=True
        )
        return Measured(**json.loads(result.read_text()))


def _launch(command: Sequence[str], memory_limit: int, timeout: float) -> Measured:
    start = time.monotonic()
    pid = os.posix_spawn(command[0], command, os.environ, setpgroup=0)
    killed = ""
    while True:
        done, status, usage = os.wait4(pid, 0 if killed else os.WNOHANG)
        seconds = time.monotonic() - start
        if done:
            code = os.waitstatus_to_exitcode(status)
            return Measured(seconds, usage.ru_maxrss * 1024, code, killed)
        if memory_limit and _resident(pid) > memory_limit:
            killed = "memory"
        elif timeout and seconds > timeout:
            killed = "time"
        if killed:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(_PERIOD_S)


def _resident(pid: int) -> int:
    """Resident bytes of a process; 0 once it has ended."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):
        return 0


if __name__ == "__main__":
    measured = _launch(sys.argv[4:], int(sys.argv[2]), float(sys.argv[3]))
    Path(sys.argv[1]).write_text(json.dumps(dataclasses.asdict(measured)))
