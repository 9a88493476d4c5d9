"""Accuracy of each precision and calibrator on the bundled digits models, beside ONNX Runtime's.

    python -m benchmarks.precision_table --docs=docs/precision.md

Everything runs on the CPU, in emulation (`tftrt_toolkit.precision.emulate`). Calibration takes 200
training images, clean, with one of them times 30, and shuffled; accuracy is that of the 797
held-out images. ONNX Runtime's quantizers run with their defaults on the same images, its float16
converter too; its results are judged by the same emulation.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from absl import app, logging

from benchmarks import recording, tables
from benchmarks.whole_model import whole_model
from tftrt_toolkit import onnx_model
from tftrt_toolkit.artifacts import OnnxModel, TypedOnnx
from tftrt_toolkit.examples import digits
from tftrt_toolkit.precision import (
    Calibrator,
    PrecisionOptions,
    apply_precision,
    emulate,
    prepare,
    resolve_calibrator,
)
from tftrt_toolkit.precision.compare import run
from tftrt_toolkit.precision.thresholds import CALIBRATORS
from tftrt_toolkit.sampling import sample_inputs

ROOT = Path(__file__).parents[1]
MODELS = ("digits_cnn", "digits_vit")
CALIBRATION_IMAGES, BATCH = 200, 40
WILD = 30.0
SCALE = 1e5
ORT_METHODS = ("MinMax", "Entropy", "Percentile")
# Methods behind whose names stand the nodes that they keep in FP32.
_COUNTED = ("FP16, calibrated", "FP16, made-up inputs")
BLOCKS = {"int8": "INT8 table", "fp16": "FP16 table"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement. snr_db: of the logits, against FP32; None where they aren't finite."""

    model: str
    table: str
    data: str
    method: str
    top1: float
    snr_db: float | None


class Bench:
    """One model, its FP32 logits, and how far others are from them."""

    def __init__(self, name: str, model: OnnxModel) -> None:
        self.name = name
        self.model = model
        train, self._test = digits.load_split()
        self.images = train.images[:CALIBRATION_IMAGES]
        self._reference = self._logits(model)

    def row(self, table: str, data: str, method: str, model: OnnxModel) -> Row:
        """Judge a model that ONNX Runtime runs as it stands."""
        logits = self._logits(model)
        noise = np.square(logits - self._reference).sum()
        signal = np.square(self._reference).sum()
        snr = 10 * math.log10(signal / noise) if noise > 0 and np.isfinite(noise) else None
        row = Row(self.name, table, data, method, self._top1(logits), snr)
        logging.info("%s", row)
        return row

    def fp32(self, table: str, data: str) -> Row:
        """The row of FP32 itself."""
        return Row(self.name, table, data, "FP32", self._top1(self._reference), None)

    def _logits(self, model: OnnxModel) -> np.ndarray:
        (outputs,) = run(model, [(self._test.images,)])
        return outputs[0].astype(np.float64)

    def _top1(self, logits: np.ndarray) -> float:
        # A NaN is no answer: argmax would take it for the greatest.
        known = np.isfinite(logits).all(axis=1)
        return float((known & (logits.argmax(axis=1) == self._test.labels)).mean() * 100)


def data_sets(images: np.ndarray) -> dict[str, np.ndarray]:
    """The calibration images as they are, with a wild one in the middle, and first, shuffled."""
    wild = images.copy()
    wild[len(wild) // 2] *= WILD
    shuffled = np.roll(wild[::-1], -(len(wild) // 2 - 1), axis=0)  # the wild one comes first
    return {"clean": images, "one image x 30": wild, "the same, wild first": shuffled}


def int8_rows(bench: Bench) -> Iterator[Row]:
    """Our calibrators and ONNX Runtime's."""
    yield bench.fp32("int8", "-")
    for data, images in data_sets(bench.images).items():
        calibrator = Calibrator(bench.model)
        for batch in _batches(images):
            calibrator.add((batch,))
        calibration = calibrator.result()
        for name in (*CALIBRATORS, "auto"):
            options = PrecisionOptions(calibrator=name)
            options = resolve_calibrator(bench.model, "INT8", calibration, calibrator.kept, options)
            typed = apply_precision(bench.model, "INT8", calibration, options)
            method = f"auto ({options.calibrator})" if name == "auto" else name
            yield bench.row("int8", data, method, emulate(typed))
        for method in ORT_METHODS:
            quantized = _ort_quantized(bench.model, images, method)
            yield bench.row("int8", data, f"ONNX Runtime {method}", quantized)


def fp16_rows(bench: Bench) -> Iterator[Row]:
    """The model as it is and with activations times 1e5, ours and ONNX Runtime's converter."""
    variants = {"as it is": bench.model, "activations x 1e5": scaled(bench.model)}
    yield bench.fp32("fp16", "-")
    for data, model in variants.items():
        calibrator = Calibrator(model)
        for batch in _batches(bench.images):
            calibrator.add((batch,))
        typed = apply_precision(model, "FP16", calibrator.result())
        label = f"calibrated, {len(typed.islands)} nodes in FP32"
        yield bench.row("fp16", data, f"FP16, {label}", emulate(typed))
        trial = Calibrator(model)
        trial.add((made_up(bench.images.shape[1:]),))
        typed = apply_precision(model, "FP16", trial.result())
        label = f"made-up inputs, {len(typed.islands)} nodes in FP32"
        yield bench.row("fp16", data, f"FP16, {label}", emulate(typed))
        yield bench.row(
            "fp16", data, "FP16, constants alone", emulate(apply_precision(model, "FP16"))
        )
        yield bench.row("fp16", data, "BF16", emulate(apply_precision(model, "BF16")))
        yield bench.row("fp16", data, "ONNX Runtime float16", emulate(_ort_float16(model)))


def made_up(shape: tuple[int, ...]) -> np.ndarray:
    """What the converter makes up where no data is given."""
    spec = tf.TensorSpec((None, *shape), tf.float32)
    return sample_inputs({"image": spec})["image"]


def scaled(model: OnnxModel) -> OnnxModel:
    """The same function with activations times 1e5 between a linear layer and a later one.

    In a convolutional net that is the first convolution whose Relu feeds another; in a transformer
    the values of the first attention and the projection behind.
    """
    prepared = prepare(model)
    proto = onnx.ModelProto()
    proto.CopyFrom(prepared.proto)
    weights = dict(prepared.weights)
    factors = _cnn_factors(proto) or _attention_factors(proto)
    for tensor in proto.graph.initializer:
        if tensor.name in factors:
            if tensor.name in weights:
                weights[tensor.name] = weights[tensor.name] * np.float32(factors[tensor.name])
            else:
                value = onnx.numpy_helper.to_array(tensor) * np.float32(factors[tensor.name])
                tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    return OnnxModel(proto, weights)


def _cnn_factors(proto: onnx.ModelProto) -> dict[str, float]:
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    if len(convolutions) < 2:
        return {}
    first, second = convolutions[:2]
    return {**dict.fromkeys(first.input[1:], SCALE), second.input[1]: 1 / SCALE}


def _attention_factors(proto: onnx.ModelProto) -> dict[str, float]:
    constants = {tensor.name for tensor in proto.graph.initializer}

    def constant(part: str, op: str) -> str:
        return next(
            name
            for node in proto.graph.node
            if f"block_0_attention_1/{part}/" in node.output[0] and node.op_type == op
            for name in node.input
            if name in constants
        )

    values = dict.fromkeys([constant("value_1", "MatMul"), constant("value_1", "Add")], SCALE)
    return {**values, constant("attention_output_1", "MatMul"): 1 / SCALE}


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


def _ort_quantized(model: OnnxModel, images: np.ndarray, method: str) -> OnnxModel:
    """ONNX Runtime's static quantization with its defaults and one of its calibrators."""
    from onnxruntime import quantization

    name = model.proto.graph.input[0].name

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = iter([{name: batch} for batch in _batches(images)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(onnx_model.to_proto(prepare(model)), source)
        quantization.quantize_static(
            source, target, Reader(), calibrate_method=quantization.CalibrationMethod[method]
        )
        return OnnxModel(onnx.load(target), {})


def _ort_float16(model: OnnxModel) -> TypedOnnx:
    """ONNX Runtime's float16 converter, inputs and outputs kept."""
    from onnxruntime.transformers import onnx_model as ort_model
    from onnxruntime.transformers.float16 import convert_float_to_float16

    proto = convert_float_to_float16(onnx_model.to_proto(model), keep_io_types=True)
    ort_model.OnnxModel(proto).topological_sort()  # it leaves the graph unsorted
    return TypedOnnx(OnnxModel(proto, {}), "FP16")


def render(rows: Sequence[Row], kind: str) -> str:
    """A table: a row a method and data set, two columns a model."""
    names = list(dict.fromkeys(row.model for row in rows))
    header = ["data", "method"]
    for name in names:
        header += [f"{name} top-1", "SNR"]
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row.table == kind:
            method = row.method.partition(" (")[0] if kind == "int8" else row.method
            method = next((one for one in _COUNTED if method.startswith(one)), method)
            lines.setdefault((row.data, method), {})[row.model] = row
    body = []
    for (data, method), found in lines.items():
        cells = [data, method]
        for name in names:
            row = found[name]
            snr = "-" if row.snr_db is None else f"{row.snr_db:.1f} dB"
            detail = row.method.removeprefix(method).strip(" ,")
            cells += [f"{row.top1:.2f} %" + (f" {detail}" if detail else ""), snr]
        body.append(cells)
    return tables.table(header, body)


def main(argv: Sequence[str]) -> None:
    """Measure, write the results, renew the tables."""
    recording.refuse_arguments(argv)
    rows: list[Row] = []
    for name in MODELS:
        bench = Bench(name, whole_model(ROOT / "saved_models" / name))
        rows += [*int8_rows(bench), *fp16_rows(bench)]
    versions = {name: metadata.version(name) for name in ("onnxruntime", "onnx", "tensorflow")}
    results: dict[str, Any] = {
        "versions": versions,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    recording.record(results, {block: render(rows, kind) for kind, block in BLOCKS.items()})


if __name__ == "__main__":
    recording.define_flags("precision")
    app.run(main)
