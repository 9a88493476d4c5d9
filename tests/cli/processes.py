"""Commands as processes: each of its own, or forked from one that has imported TensorFlow once.

done = run(script("calibrate"), "--help")
first, second = run_each("calibrate", directory, [["--output=a.json"], ["--help"]])
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TFTRT = ("-m", "tftrt_toolkit.cli.main")
INTERRUPTED = "error: interrupted; nothing half-written is left"


@dataclasses.dataclass(frozen=True)
class Done:
    """How a run ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def last_line(self):
        """Of stderr, where a command tells its error."""
        assert "Traceback" not in self.stderr, self.stderr
        lines = self.stderr.strip().splitlines()
        return lines[-1] if lines else ""


def script(name):
    """The program that runs scripts/<name>.py."""
    return (str(ROOT / "scripts" / f"{name}.py"),)


def start(program, *flags, cwd=None):
    """Start `script(...)` or `(*TFTRT, subcommand)`, in a process group of its own as shells do."""
    return subprocess.Popen(
        [sys.executable, *program, *map(str, flags)],
        cwd=cwd,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def finish(process):
    """Wait until it ends."""
    out, err = process.communicate(timeout=300)
    return Done(process.returncode, out, err)


def run(program, *flags, cwd=None):
    """Start it and wait until it ends."""
    return finish(start(program, *flags, cwd=cwd))


def wait_for(process, condition):
    """Wait until the condition holds, while the process lives."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def reading(process, fifo):
    """Until it ends, the process waits for the content of this named pipe, which never comes."""
    found = []

    def reader_has_come():
        with contextlib.suppress(OSError):  # nobody has opened it to read
            found.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return found

    wait_for(process, reader_has_come)
    yield
    os.close(found[0])


def interrupt(process):
    """Press Ctrl-C: a terminal sends SIGINT to the command and to all that it has started."""
    os.killpg(process.pid, signal.SIGINT)
    return finish(process)


def run_each(command, directory, runs):
    """Run `tftrt_toolkit.cli.<command>` in `directory` with each list of flags, in order."""
    launched = subprocess.run(
        [sys.executable, __file__, command, json.dumps([list(map(str, run)) for run in runs])],
        cwd=directory,
        env=_environment(),
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    return [Done(*found) for found in json.loads(launched.stdout)]


def _environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}


def _fork(module, argv):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if not pid:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(_exit_code(module, argv))
        _, status = os.waitpid(pid, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return os.waitstatus_to_exitcode(status), *texts


def _exit_code(module, argv):
    sys.argv = argv
    code = 1
    try:
        module.main()
    except SystemExit as exit_:
        code = exit_.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    import importlib

    loaded = importlib.import_module(f"tftrt_toolkit.cli.{sys.argv[1]}")
    print(json.dumps([_fork(loaded, [f"{sys.argv[1]}.py", *f]) for f in json.loads(sys.argv[2])]))
