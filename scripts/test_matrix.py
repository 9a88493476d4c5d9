"""Run the smoke suite under each supported TensorFlow and write the table of results.

Each TensorFlow gets a virtual environment of its own below --venv_dir, which is kept and used
again. The table replaces what stands between the markers in docs/versions.md and README.md.

Exit codes: 0 all passed; 1 some failed, see the table.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("2.18.1", "2.19.1", "2.20.0", "2.21.0")
SMOKE = ("tests/runtime", "tests/compat", "tests/freeze", "tests/assemble")
REQUIREMENTS = (
    "onnx>=1.17", "tf2onnx==1.17.0", "onnxruntime>=1.20", "filelock>=3.12", "rich>=13",
    "absl-py>=2", "pytest>=8", "pytest-timeout>=2", "hypothesis>=6",
)  # fmt: skip
TABLES = (ROOT / "docs" / "versions.md", ROOT / "README.md")
BEGIN, END = "<!-- test matrix: begin -->", "<!-- test matrix: end -->"
_COMPILE = (
    "import platform, time; import tensorflow as tf\n"
    "start = time.monotonic(); import tftrt_toolkit\n"
    "print(tf.__version__, platform.python_version())\n"
    "print(time.monotonic() - start)\n"
)


@dataclasses.dataclass(frozen=True)
class Result:
    """One row: what was installed, whether the ops compiled, and the smoke suite's counts."""

    tensorflow: str
    python: str
    compile_seconds: float | None
    passed: int
    skipped: int
    failed: int

    @property
    def good(self) -> bool:
        """Whether the row has no fault."""
        return self.compile_seconds is not None and self.failed == 0 and self.passed > 0


def environment(version: str, venv_dir: Path) -> Path:
    """The interpreter of the environment for one TensorFlow; makes it if it isn't there."""
    venv = venv_dir / f"tf{version}"
    python = venv / "bin" / "python"
    done = venv / ".installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        # Two steps: tf2onnx asks for an older protobuf than TensorFlow has, and works with both.
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, f"tensorflow=={version}", *_without_tf2onnx()], check=True)
        subprocess.run([*install, "--no-deps", "tf2onnx==1.17.0"], check=True)
        done.touch()
    return python


def _without_tf2onnx() -> list[str]:
    return [name for name in REQUIREMENTS if not name.startswith("tf2onnx")] + ["requests"]


def run_one(version: str, venv_dir: Path, timeout: float) -> Result:
    """Compile the ops anew and run the smoke suite under one TensorFlow."""
    python = environment(version, venv_dir)
    with tempfile.TemporaryDirectory() as scratch:
        variables = os.environ | {
            "TFTRT_TOOLKIT_CACHE_DIR": str(Path(scratch, "cache")),
            "PYTHONPATH": str(ROOT),
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        compiled = subprocess.run(
            [str(python), "-c", _COMPILE],
            env=variables, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if compiled.returncode != 0:
            print(compiled.stderr[-2000:], file=sys.stderr)
            return Result(version, "", None, 0, 0, 0)
        about, seconds = compiled.stdout.strip().splitlines()[-2:]
        report = Path(scratch, "report.xml")
        subprocess.run(
            [
                str(python), "-m", "pytest", "-q", "-m", "not slow and not gpu and not tf217",
                f"--junitxml={report}", *SMOKE,
            ],
            env=variables, cwd=ROOT, timeout=timeout, check=False,
        )  # fmt: skip
        passed, skipped, failed = _counts(report)
    return Result(about.split()[0], about.split()[1], float(seconds), passed, skipped, failed)


def _counts(report: Path) -> tuple[int, int, int]:
    if not report.exists():
        return 0, 0, 1
    suite = ElementTree.parse(report).getroot().find("testsuite")
    if suite is None:
        return 0, 0, 1
    total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return total - skipped - failed, skipped, failed


def table(results: list[Result]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| TensorFlow | Python | first import, ops compiled | smoke suite |",
        "|---|---|---|---|",
    ]
    for one in results:
        compiled = "no" if one.compile_seconds is None else f"in {one.compile_seconds:.0f} s"
        suite = f"{one.passed} passed, {one.skipped} skipped, {one.failed} failed"
        lines.append(f"| {one.tensorflow} | {one.python} | {compiled} | {suite} |")
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return "\n".join([*lines, "", f"Run on {day}, on a CPU, by `make test-matrix`."])


def write_tables(text: str) -> None:
    """Put the table between the markers of each document that has them."""
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    for path in TABLES:
        if path.exists():
            old = path.read_text(encoding="utf-8")
            path.write_text(pattern.sub(f"{BEGIN}\n{text}\n{END}", old), encoding="utf-8")


def main() -> int:
    """Run the matrix; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--versions", default=",".join(VERSIONS), help="TensorFlow versions")
    parser.add_argument("--venv_dir", type=Path, default=ROOT / ".matrix", help="environments")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for each version")
    parser.add_argument("--write", action="store_true", help="write the table into the documents")
    flags = parser.parse_args()
    results = [
        run_one(version, flags.venv_dir, flags.timeout) for version in flags.versions.split(",")
    ]
    text = table(results)
    print(text)
    if flags.write:
        write_tables(text)
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
