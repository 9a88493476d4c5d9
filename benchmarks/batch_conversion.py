"""Ten models converted one after the other, and by one batch within a memory limit.

    python -m benchmarks.batch_conversion --docs=docs/use.md

One after the other means `convert_saved_model`, a process a model, with all cores. The batch runs
the same conversions with `batch_convert`. Both start without cached engines; the rounds alternate.
Peak memory is the sum over all processes of a run, what several share counted once.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import recording, tables
from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.batch.memory import total_bytes

ROOT = Path(__file__).parents[1]
BLOCK = "batch conversion"
ZOO = (
    "mobilenetv2",
    "efficientnetb0",
    "densenet121",
    "resnet50",
    "bert",
    "gpt",
    "lstm",
    "detector",
)
DIGITS = ("digits_cnn", "digits_vit")
_IMAGE = (8, 8, 1)
_PERIOD_S = 0.2


def write_models(folder: Path) -> dict[str, str]:
    """SavedModels in `folder`; model -> its input shapes, as flags and manifests write them."""
    from tests.models.zoo import MODELS

    shapes = {}
    for name in flags.FLAGS.models:
        if name in DIGITS:
            (folder / name).symlink_to(ROOT / "saved_models" / name)
            shapes[name] = {"image": ShapeRange((1, *_IMAGE), (8, *_IMAGE), (32, *_IMAGE))}
            continue
        MODELS[name].save(folder / name)
        shapes[name] = MODELS[name].shapes
    return {name: _written(found) for name, found in shapes.items()}


def _written(shapes: Any) -> str:
    return ",".join(
        ":".join([name, *("x".join(map(str, one)) or "()" for one in (r.min, r.opt, r.max))])
        for name, r in shapes.items()
    )


def one_after_the_other(models: Path, shapes: dict[str, str], output: Path) -> list[list[str]]:
    """The commands that convert each model."""
    script = str(ROOT / "scripts" / "convert_saved_model.py")
    return [
        [
            sys.executable,
            script,
            f"--input_saved_model_dir={models / name}",
            f"--output_saved_model_dir={output / name}",
            "--precision_mode=FP16",
            "--compute_capabilities=8.9",
            f"--input_shapes={text}",
        ]
        for name, text in shapes.items()
    ]


def batch(models: Path, shapes: dict[str, str], output: Path, memory_gb: float) -> list[list[str]]:
    """The command that converts all, and its manifest."""
    lines = [f"output_dir: {output}", f"memory_gb: {memory_gb}", "models:"]
    for name, text in shapes.items():
        inputs = ", ".join(entry.replace(":", ": ", 1) for entry in text.split(","))
        lines += [f"  - saved_model: {models / name}", "    precision: FP16"]
        lines += ["    compute_capabilities: [8.9]", f"    input_shapes: {{{inputs}}}"]
    manifest = output.with_suffix(".yaml")
    manifest.write_text("\n".join(lines) + "\n")
    script = str(ROOT / "scripts" / "batch_convert.py")
    return [[sys.executable, script, f"--manifest={manifest}", f"--cores={flags.FLAGS.cores}"]]


def measure(commands: Sequence[Sequence[str]], log: Path) -> tuple[float, int]:
    """Seconds and peak bytes of commands, one after the other, on the cores that the flag names."""
    cores = sorted(os.sched_getaffinity(0))[: flags.FLAGS.cores]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start, peak = time.monotonic(), 0
    with log.open("wb") as output:
        for command in commands:
            process = subprocess.Popen(
                ["taskset", "-c", ",".join(map(str, cores)), *command],
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
            while process.poll() is None:
                peak = max(peak, total_bytes(session(process.pid), peak))
                time.sleep(_PERIOD_S)
            if process.returncode:
                raise RuntimeError(log.read_text()[-2000:])
    return time.monotonic() - start, peak


def session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == leader:
            found.append(int(path.parent.name))
    return found


def run(folder: Path) -> dict[str, Any]:
    """Measure all rounds."""
    models = folder / "models"
    models.mkdir()
    shapes = write_models(models)
    found: dict[str, list[tuple[float, int]]] = {"one after the other": [], "batch": []}
    for index in range(flags.FLAGS.rounds):
        output = folder / f"single_{index}"
        commands = one_after_the_other(models, shapes, output)
        found["one after the other"].append(measure(commands, folder / "log"))
        output = folder / f"batch_{index}"
        commands = batch(models, shapes, output, flags.FLAGS.memory_gb)
        found["batch"].append(measure(commands, folder / "log"))
    return {
        "models": list(shapes),
        "cores": flags.FLAGS.cores,
        "memory_limit_bytes": int(flags.FLAGS.memory_gb * 2**30),
        "rounds": flags.FLAGS.rounds,
        "runs": {
            way: {
                "seconds": [round(seconds, 1) for seconds, _ in runs],
                "peak_bytes": [peak for _, peak in runs],
            }
            for way, runs in found.items()
        },
    }


def render(results: dict[str, Any]) -> str:
    """The table, and the ratio under it."""
    seconds = {way: statistics.median(one["seconds"]) for way, one in results["runs"].items()}
    rows = [
        [way, f"{seconds[way]:.0f}", f"{max(one['peak_bytes']) / 2**30:.2f}"]
        for way, one in results["runs"].items()
    ]
    ratio = seconds["batch"] / seconds["one after the other"]
    limit = results["memory_limit_bytes"] / 2**30
    header = [f"{len(results['models'])} models, FP16", "seconds", "peak GiB"]
    return (
        f"\n{tables.table(header, rows)}\n"
        f"Ratio {ratio:.2f} on {results['cores']} cores, with a limit of {limit:g} GiB.\n\n"
    )


def main(argv: Sequence[str]) -> None:
    """Measure, write the results, renew the table."""
    recording.refuse_arguments(argv)
    with tempfile.TemporaryDirectory() as folder:
        results = run(Path(folder))
    recording.record(results, {BLOCK: render(results)})


def define_flags() -> None:
    """Not at import, as `recording.define_flags` says."""
    recording.define_flags("batch_conversion")
    flags.DEFINE_list("models", [*ZOO, *DIGITS], "What to convert.")
    flags.DEFINE_integer("rounds", 2, "Runs of each; times are medians, peaks the greatest.")
    flags.DEFINE_integer("cores", 2, "Cores of a run.")
    flags.DEFINE_float("memory_gb", 5.0, "The batch's limit, in GiB.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
