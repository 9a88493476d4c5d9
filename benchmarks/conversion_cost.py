"""What a conversion costs beside `python -m tf2onnx.convert` on the same SavedModels.

    python -m benchmarks.conversion_cost --rounds=3 --readme=README.md

Both run as whole processes, import included, in turns. Ours converts to FP16: segments, ONNX, the
check of each, TensorRT-RTX plans and the saved model. tf2onnx's command writes one ONNX file and
does none of the rest. A command beyond `--memory_limit_gb` of resident memory is killed, and the
result says so.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from benchmarks import measure, tables

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "conversion_cost.json"
BLOCK = "conversion cost"
OURS, THEIRS = "tftrt_toolkit", "tf2onnx"
DEFAULT_MODELS = (
    "resnet50", "mobilenetv2", "vgg16", "efficientnetb0", "inceptionv3", "densenet121", "bert",
    "gpt",
)  # fmt: skip
_WARM_UP = "tf1"  # small: compiles the op library and fills the file cache


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to measure, and when to kill a command: bytes of resident memory, seconds."""

    models: tuple[str, ...]
    rounds: int
    memory_limit: int
    timeout: float
    work: Path


@dataclasses.dataclass(frozen=True)
class Summary:
    """Medians of one command on one model; `killed` if any run was ended early."""

    seconds: float
    peak_rss_bytes: int
    killed: str


def _shape_flags(name: str) -> str:
    from tests.models import zoo

    def text(shape: Iterable[int]) -> str:
        return "x".join(map(str, shape)) or "()"

    return ",".join(
        f"{key}:{text(shapes.min)}:{text(shapes.opt)}:{text(shapes.max)}"
        for key, shapes in zoo.MODELS[name].shapes.items()
    )


def _commands(name: str, saved_model: Path, scratch: Path) -> dict[str, list[str]]:
    return {
        THEIRS: [
            sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(saved_model),
            "--output", str(scratch / "model.onnx"), "--opset", "18",
        ],
        OURS: [
            sys.executable, str(ROOT / "scripts" / "convert_saved_model.py"),
            f"--input_saved_model_dir={saved_model}",
            f"--output_saved_model_dir={scratch / 'converted'}",
            "--precision_mode=FP16", "--engine=tensorrt_rtx",
            f"--input_shapes={_shape_flags(name)}",
        ],
    }  # fmt: skip


def _saved_model(name: str, work: Path) -> Path:
    """The model's SavedModel, written by a process of its own so that this one stays small."""
    directory = work / name
    if not (directory / "saved_model.pb").exists():
        code = (
            f"import pathlib; from tests.models import zoo; "
            f"zoo.MODELS[{name!r}].save(pathlib.Path({str(directory)!r}))"
        )
        log = work / f"{name}.build.log"
        with log.open("wb") as output:
            subprocess.run(
                [sys.executable, "-c", code], check=True, stdout=output, stderr=output, cwd=ROOT
            )
    return directory


def _run(plan: Plan, name: str, tool: str, saved_model: Path, index: int) -> dict[str, Any]:
    scratch = Path(tempfile.mkdtemp(dir=plan.work))
    log = plan.work / f"{name}.{tool}.{index}.log"
    # Without a GPU in sight both commands do the same on every machine.
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
    try:
        found = measure.run(
            _commands(name, saved_model, scratch)[tool],
            log,
            memory_limit=plan.memory_limit,
            timeout=plan.timeout,
            env=env,
        )
    finally:
        shutil.rmtree(scratch)
    if found.returncode and not found.killed:
        last = log.read_text(errors="replace").strip().splitlines()[-5:]
        raise SystemExit(f"{tool} failed on {name}: " + "\n".join(last))
    logging.info("%s %s: %.1f s, %.2f GB %s", name, tool, found.seconds,
                 found.peak_rss_bytes / 1e9, found.killed)  # fmt: skip
    return {"model": name, "tool": tool, **dataclasses.asdict(found)}


def measure_all(plan: Plan) -> dict[str, Any]:
    """Run both commands on every model in turns; all runs and what they ran on."""
    from tests.models import zoo

    unknown = set(plan.models) - zoo.MODELS.keys()
    if unknown:
        raise SystemExit(f"unknown models {sorted(unknown)}: choose from {sorted(zoo.MODELS)}")
    _run(plan, _WARM_UP, OURS, _saved_model(_WARM_UP, plan.work), 0)
    runs = []
    for name in plan.models:
        saved_model = _saved_model(name, plan.work)
        stopped = set()  # a command that was killed once would be killed again
        for index in range(plan.rounds):
            for tool in (THEIRS, OURS):
                if tool not in stopped:
                    runs.append(_run(plan, name, tool, saved_model, index))
                    if runs[-1]["killed"]:
                        stopped.add(tool)
    return {
        "environment": environment(),
        "rounds": plan.rounds,
        "memory_limit_bytes": plan.memory_limit,
        "runs": runs,
    }


def environment() -> dict[str, Any]:
    """What the figures depend on."""
    packages = ("tensorflow", "tf2onnx", "onnx", "onnxruntime", "tensorrt_rtx_cu12", "keras")
    found: dict[str, Any] = {package: metadata.version(package) for package in packages}
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )  # fmt: skip
    return {**found, "python": platform.python_version(), "cpu": cpu, "cores": os.cpu_count()}


def summarize(runs: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Summary]]:
    """Model -> tool -> medians."""
    grouped: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for run in runs:
        grouped.setdefault(run["model"], {}).setdefault(run["tool"], []).append(run)
    return {
        model: {
            tool: Summary(
                seconds=statistics.median(run["seconds"] for run in found),
                peak_rss_bytes=int(statistics.median(run["peak_rss_bytes"] for run in found)),
                killed=next((run["killed"] for run in found if run["killed"]), ""),
            )
            for tool, found in tools.items()
        }
        for model, tools in grouped.items()
    }


def render(results: Mapping[str, Any]) -> str:
    """The Markdown block: a table, and what it was measured on."""
    limit = results["memory_limit_bytes"]
    rows = []
    for model, tools in summarize(results["runs"]).items():
        ours, theirs = tools[OURS], tools[THEIRS]
        ratios = ["", ""]
        if not (ours.killed or theirs.killed):
            ratios = [
                f"{theirs.seconds / ours.seconds:.1f}x",
                f"{theirs.peak_rss_bytes / ours.peak_rss_bytes:.1f}x",
            ]
        rows.append([model, *_cells(theirs, limit), *_cells(ours, limit), *ratios])
    header = ["model", "tf2onnx s", "GB", "toolkit s", "GB", "faster", "smaller"]
    found = results["environment"]
    return (
        f"{tables.table(header, rows)}\n"
        f"Whole processes, medians of {results['rounds']}; GB: peak resident memory. tf2onnx "
        f"{found['tf2onnx']} writes ONNX; the toolkit converts to FP16, checks, builds "
        f"TensorRT-RTX {found['tensorrt_rtx_cu12']} plans and saves. TensorFlow "
        f"{found['tensorflow']}, {found['cores']} cores of {found['cpu']}, no GPU.\n"
    )


def _cells(summary: Summary, memory_limit: int) -> list[str]:
    if summary.killed == "memory":
        return [f"> {summary.seconds:.0f}", f"killed at {memory_limit / 1e9:.0f}"]
    if summary.killed == "time":
        return [f"killed at {summary.seconds:.0f}", f"> {summary.peak_rss_bytes / 1e9:.1f}"]
    return [f"{summary.seconds:.1f}", f"{summary.peak_rss_bytes / 1e9:.2f}"]


def _define_flags() -> None:
    flags.DEFINE_list("models", list(DEFAULT_MODELS), "Names in tests/models/zoo.")
    flags.DEFINE_integer("rounds", 3, "Runs of each command; the medians are reported.")
    flags.DEFINE_float("memory_limit_gb", 20.0, "Kill a command beyond so many 1e9 bytes.")
    flags.DEFINE_float("timeout_s", 1200.0, "Kill a command after so many seconds.")
    flags.DEFINE_string("work_dir", None, "Keeps SavedModels and logs; default: temporary.")
    flags.DEFINE_string("output", str(RESULTS), "Results as JSON.")
    flags.DEFINE_string("readme", None, "Markdown file whose generated table is renewed.")
    flags.DEFINE_bool("render_only", False, "Measure nothing; renew the table from --output.")


def main(_: list[str]) -> None:
    given = flags.FLAGS
    output = Path(given.output)
    if not given.render_only:
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(given.work_dir or scratch)
            work.mkdir(parents=True, exist_ok=True)
            limit = int(given.memory_limit_gb * 1e9)
            plan = Plan(tuple(given.models), given.rounds, limit, given.timeout_s, work)
            results = measure_all(plan)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(results, indent=1) + "\n")
    block = render(json.loads(output.read_text()))
    print(block)
    if given.readme:
        tables.write_block(Path(given.readme), BLOCK, block)


if __name__ == "__main__":
    _define_flags()
    app.run(main)
