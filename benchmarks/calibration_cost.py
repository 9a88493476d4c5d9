"""Memory and time of calibrating ResNet50, ours beside ONNX Runtime's MinMax.

    python -m benchmarks.calibration_cost --docs=docs/precision.md

Each figure is that of a process of its own: the model as one ONNX file, random images in batches,
statistics collected, no quantization. Time is that of the batches alone.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from absl import app, flags

from benchmarks import measure, recording, tables

ROOT = Path(__file__).parents[1]
BLOCK = "calibration cost"
METHODS = ("ours", "ONNX Runtime MinMax")


def _batches(count: int, size: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(0, count, size):
        yield rng.random((size, 224, 224, 3), dtype=np.float32)


def _ours(path: str, images: int) -> float:
    from tftrt_toolkit.artifacts import OnnxModel
    from tftrt_toolkit.precision import Calibrator

    calibrator = Calibrator(OnnxModel(onnx.load(path), {}))
    start = time.perf_counter()
    for batch in _batches(images, flags.FLAGS.batch):
        calibrator.add((batch,))
    calibrator.result()
    return time.perf_counter() - start


def _min_max(path: str, images: int) -> float:
    from onnxruntime.quantization import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    import tftrt_toolkit  # noqa: F401  as much in memory as ours has

    name = onnx.load(path, load_external_data=False).graph.input[0].name

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = ({name: batch} for batch in _batches(images, flags.FLAGS.batch))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            path,
            augmented_model_path=f"{folder}/augmented.onnx",
            calibrate_method=CalibrationMethod.MinMax,
        )
        start = time.perf_counter()
        calibrator.collect_data(Reader())
        calibrator.compute_data()
        return time.perf_counter() - start


def _measure(model: Path, method: str, images: int, folder: Path) -> tuple[float, float]:
    """Peak bytes and seconds an image."""
    seconds = folder / "seconds"
    command = [sys.executable, "-m", "benchmarks.calibration_cost", f"--child={method}"]
    command += [f"--model={model}", f"--images={images}", f"--batch={flags.FLAGS.batch}"]
    command += [f"--seconds={seconds}"]
    measured = measure.run(command, folder / "log")
    if measured.returncode:
        raise RuntimeError((folder / "log").read_text()[-2000:])
    return measured.peak_rss_bytes, float(seconds.read_text()) / images


def _rounds(folder: Path) -> list[dict[str, object]]:
    from benchmarks.whole_model import whole_model
    from tests.models.zoo import MODELS
    from tftrt_toolkit.onnx_model import to_proto

    MODELS["resnet50"].save(folder / "resnet50")
    model = folder / "resnet50.onnx"
    model.write_bytes(to_proto(whole_model(folder / "resnet50")).SerializeToString())
    results = []
    for images in map(int, flags.FLAGS.images):
        runs: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS}
        for _ in range(flags.FLAGS.rounds):
            for method in METHODS:
                runs[method].append(_measure(model, method, images, folder))
        for method, found in runs.items():
            peak, seconds = (float(np.median(column)) for column in zip(*found, strict=True))
            results.append(
                {"method": method, "images": images, "peak_rss_bytes": peak, "seconds": seconds}
            )
    return results


def render(results: Sequence[dict]) -> str:
    """The table."""
    rows = [
        [
            one["method"],
            str(one["images"]),
            f"{one['peak_rss_bytes'] / 1e9:.2f}",
            f"{one['seconds'] * 1e3:.0f}",
        ]
        for one in results
    ]
    return tables.table(["calibrator", "images", "peak GB", "ms an image"], rows)


def main(argv: Sequence[str]) -> None:
    """Measure, write the results, renew the table; or be the measured process."""
    recording.refuse_arguments(argv)
    if flags.FLAGS.child:
        run = _ours if flags.FLAGS.child == METHODS[0] else _min_max
        Path(flags.FLAGS.seconds).write_text(
            str(run(flags.FLAGS.model, int(flags.FLAGS.images[0])))
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        results = _rounds(Path(folder))
    recording.record(results, {BLOCK: render(results)})


def define_flags() -> None:
    """Not at import, as `recording.define_flags` says."""
    recording.define_flags("calibration_cost")
    flags.DEFINE_list("images", ["32", "512"], "How many images, a figure each.")
    flags.DEFINE_integer("batch", 8, "Images in a batch.")
    flags.DEFINE_integer("rounds", 3, "Runs of each; the medians are reported.")
    flags.DEFINE_string("child", None, "Measured process: METHOD; with --model.")
    flags.DEFINE_string("model", None, "Measured process: the ONNX file.")
    flags.DEFINE_string("seconds", None, "Measured process: where its seconds go.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
