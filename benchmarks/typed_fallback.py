"""How near a typed fallback comes to the engine that it stands for, on the bundled digits models.

    python -m benchmarks.typed_fallback --docs=docs/precision.md

Both are held against FP32 and against each other: relative root mean squared error of the logits of
the held-out images. The engine is emulated on the CPU.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app

from benchmarks import recording, tables
from tftrt_toolkit import ShapeRange, ToolkitOptions, TrtGraphConverterV2
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.examples import digits
from tftrt_toolkit.precision import emulate
from tftrt_toolkit.precision.compare import relative_error, run

ROOT = Path(__file__).parents[1]
MODELS = ("digits_cnn", "digits_vit")
PRECISIONS = ("FP16", "BF16", "INT8", "FP8")
SHAPES = ShapeRange((1, 8, 8, 1), (32, 8, 8, 1), (797, 8, 8, 1))
BLOCK = "typed fallback"


@dataclasses.dataclass(frozen=True)
class Row:
    """Relative errors between FP32, the engine and the fallback."""

    model: str
    precision: str
    engine_fp32: float
    fallback_fp32: float
    fallback_engine: float


def measure(name: str, precision: str) -> Row:
    """Convert with a typed fallback, save, and run all three."""
    training, held_out = digits.load_split()
    source = ROOT / "saved_models" / name
    options = ToolkitOptions(typed_fallback=True, input_shapes={"image": SHAPES})
    converter = TrtGraphConverterV2(
        str(source), precision_mode=precision, use_dynamic_shape=True, options=options
    )
    converter.convert(calibration_input_fn=[training.images[:200]])
    with tempfile.TemporaryDirectory() as folder:
        converter.save(f"{folder}/model")
        (asset,) = Path(folder, "model", "assets").glob("trt-serialized-engine.*")
        (engine,) = run(emulate(AssetFile.open(asset).load_onnx()), [(held_out.images,)])
        fallback = _logits(f"{folder}/model", held_out.images)
    fp32 = _logits(str(source), held_out.images)
    return Row(
        name,
        precision,
        relative_error([fp32], engine),
        relative_error([fp32], [fallback]),
        relative_error(engine, [fallback]),
    )


def _logits(directory: str, images: np.ndarray) -> np.ndarray:
    model: Any = tf.saved_model.load(directory)
    (logits,) = model.signatures["serving_default"](image=tf.constant(images)).values()
    return logits.numpy()


def render(rows: Sequence[Row]) -> str:
    """A row a model and precision."""
    header = ["model", "precision", "engine to FP32", "fallback to FP32", "fallback to engine"]
    body = [
        [row.model, row.precision]
        + [f"{one:.1e}" for one in (row.engine_fp32, row.fallback_fp32, row.fallback_engine)]
        for row in rows
    ]
    return tables.table(header, body)


def main(argv: Sequence[str]) -> None:
    """Measure, write the results, renew the table."""
    recording.refuse_arguments(argv)
    rows = [measure(name, precision) for name in MODELS for precision in PRECISIONS]
    recording.record([dataclasses.asdict(row) for row in rows], {BLOCK: render(rows)})


if __name__ == "__main__":
    recording.define_flags("typed_fallback")
    app.run(main)
