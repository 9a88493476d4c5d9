"""`tftrt COMMAND --flags`: every command of `scripts/` under one name."""

from __future__ import annotations

import importlib
import sys

from tftrt_toolkit.cli.common import EXIT_OK, EXIT_USAGE

# Imported only when asked for: each defines flags of its own, and TensorFlow takes seconds.
COMMANDS = {
    "batch": ("batch_convert", "Convert every model of a manifest, in parallel."),
    "benchmark": ("benchmark_saved_model", "Time a converted SavedModel beside its original."),
    "build": ("build_engines", "Build plans for more GPUs into a converted model."),
    "calibrate": ("calibrate", "Write a calibration file for INT8 and FP8."),
    "convert": ("convert_saved_model", "Convert a SavedModel to one with TensorRT engines."),
    "inspect": ("inspect_model", "Tell what a converted SavedModel holds."),
    "migrate": ("migrate_saved_model", "Bring an older TF-TRT's model to today's TensorFlow."),
    "triton": ("export_triton", "Write a converted model into a Triton model repository."),
    "tune": ("tune_model", "Find a converted model's fastest executors on this machine."),
    "run": ("run_inference", "Run a model on pictures or .npz files."),
    "validate": ("validate_saved_model", "Compare a converted SavedModel with its original."),
}


def main() -> None:
    """Entry point of the console command `tftrt`; exits as the command does."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "help"):
        print(_usage())
        sys.exit(EXIT_OK)
    if name not in COMMANDS:
        choices = ", ".join(COMMANDS)
        print(f"error: {name!r} is no command: choose from {choices}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    module = importlib.import_module(f"tftrt_toolkit.cli.{COMMANDS[name][0]}")
    sys.argv = [f"tftrt {name}", *sys.argv[2:]]
    module.main()


def _usage() -> str:
    lines = [f"  {name:<10}{about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        ["usage: tftrt COMMAND --flags", "", *lines, "", "tftrt COMMAND --help: flags"]
    )


if __name__ == "__main__":
    main()
