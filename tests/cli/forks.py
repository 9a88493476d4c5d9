"""Commands as processes of their own, forked from one that has imported TensorFlow once.

results = run_each("calibrate", directory, [["--output=a.json"], ["--help"]])
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Done:
    """How a run ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def error(self):
        """The one line that tells an error."""
        assert "Traceback" not in self.stderr
        return self.stderr.strip().splitlines()[-1]


def run_each(command, directory, runs):
    """Run `tftrt_toolkit.cli.<command>` in `directory` with each list of flags, in order."""
    launched = subprocess.run(
        [sys.executable, __file__, command, json.dumps([list(map(str, run)) for run in runs])],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    return [Done(*found) for found in json.loads(launched.stdout)]


def _run(module, argv):
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
    runs = json.loads(sys.argv[2])
    print(json.dumps([_run(loaded, [f"{sys.argv[1]}.py", *flags]) for flags in runs]))
