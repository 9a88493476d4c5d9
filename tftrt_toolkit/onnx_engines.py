"""Engines from an ONNX file of any framework, by the builder that SavedModels get."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf
from absl import logging

from tftrt_toolkit import onnx_model
from tftrt_toolkit.artifacts import Island, OnnxModel, Plan, ShapeProfile, ShapeRange, TypedOnnx
from tftrt_toolkit.assemble.output import check_output, replaced_directory
from tftrt_toolkit.engine import BuildConfig, available_builder, build_plans
from tftrt_toolkit.errors import (
    InvalidArgumentError,
    MissingDependencyError,
    ModelError,
    SessionError,
)
from tftrt_toolkit.inputs import InputFn, batches
from tftrt_toolkit.params import check_range
from tftrt_toolkit.precision import Calibrator, PrecisionOptions, apply_precision
from tftrt_toolkit.precision.apply import QUANTIZED, known_precision
from tftrt_toolkit.precision.calibration import Calibration
from tftrt_toolkit.precision.compare import Reference, relative_error
from tftrt_toolkit.sampling import sample_inputs
from tftrt_toolkit.trials import profile_points
from tftrt_toolkit.trt import Unavailable
from tftrt_toolkit.validation.sources import from_directory

_Batch = tuple[np.ndarray, ...]
_FILE_BATCH = 8  # of images and records


@dataclasses.dataclass(frozen=True)
class OnnxEngines:
    """What `build_onnx` wrote into `directory`.

    plans: file name -> the plan in it. islands: nodes kept in a higher precision, and why.
    relative_error: of the typed model, emulated on the CPU, against the model as it was: the root
      mean squared error of the worst output as a share of its root mean square, on the first
      calibration batch or on sampled inputs; None where the CPU can't run them.
    """

    directory: Path
    plans: Mapping[str, Plan]
    islands: tuple[Island, ...]
    relative_error: float | None


def build_onnx(
    path: str | Path,
    output_dir: str | Path,
    *,
    precision_mode: str = "FP32",
    input_shapes: Mapping[str, ShapeRange] | None = None,
    calibration_data: InputFn | str | Path | None = None,
    config: BuildConfig | None = None,
    overwrite: bool = False,
) -> OnnxEngines:
    """Build engines from an ONNX file and write them, and the ONNX that they were built from.

    `output_dir` gets `<flavour>-<version>-<targets>.plan`, `model.onnx` with the precision written
    into it (its large weights beside it), from which other TensorRTs build, and `report.json`.

    Args:
      precision_mode: see `TrtPrecisionMode`; FP32 leaves a model as it is typed.
      input_shapes: input name -> ShapeRange, of every input whose shape isn't fixed.
      calibration_data: INT8 and FP8 calibration batches, as an input function yields them, or a
        directory of .npz, TFRecord or image files.
      config: what to build for; None: the builder at hand and its own set of GPUs.

    Raises:
      ModelError: the file can't be read as an ONNX model.
      ValueError: shapes are missing or don't fit, or calibration data does.
      MissingDependencyError: no builder is there.
      EngineBuildError: TensorRT refuses the model; the message carries its words.
      OutputExistsError: `output_dir` isn't empty and `overwrite` is False.
    """
    path, output_dir = Path(path), Path(output_dir)
    check_output(output_dir, overwrite)
    precision, config = known_precision(precision_mode), config or BuildConfig()
    builder = available_builder(config)
    if isinstance(builder, Unavailable):
        raise MissingDependencyError(f"no engine can be built: {builder.reason}")
    model = onnx_model.load(path)
    specs = _input_specs(model, path)
    profiles = _profiles(specs, input_shapes or {})
    calibration, batch = None, _sampled(specs, input_shapes or {})
    if precision in QUANTIZED:
        calibration, batch = _calibrate(model, specs, precision, calibration_data)
    # As everywhere: TensorRT-RTX runs convolutions faster in FP16 than in INT8.
    options = PrecisionOptions(convolutions=builder.flavour != "tensorrt_rtx")
    typed = apply_precision(model, precision, calibration, options)
    plans = build_plans(typed, path.stem, profiles, config)
    found = OnnxEngines(output_dir, _named(plans), typed.islands, _error(model, typed, batch))
    with replaced_directory(output_dir) as fresh:
        onnx_model.save(typed.model, fresh)
        for name, plan in found.plans.items():
            if isinstance(plan.data, Path):
                shutil.copyfile(plan.data, fresh / name)
            else:
                (fresh / name).write_bytes(plan.data)
        (fresh / "report.json").write_text(_report(path, precision, found))
    return found


def _input_specs(model: OnnxModel, path: Path) -> dict[str, tf.TensorSpec]:
    specs = {}
    for value in model.proto.graph.input:
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
            raise ModelError(
                f"{path}: input {value.name!r} is no tensor of known rank: export it again with one"
            )
        shape = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
        dtype = tf.as_dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        specs[value.name] = tf.TensorSpec(shape, dtype, value.name)
    return specs


def _profiles(
    specs: Mapping[str, tf.TensorSpec], ranges: Mapping[str, ShapeRange]
) -> tuple[ShapeProfile, ...]:
    for name, shapes in ranges.items():
        check_range(name, shapes)
    points = profile_points(specs, ranges)
    if points is None:
        unknown = [name for name, spec in specs.items() if not spec.shape.is_fully_defined()]
        raise InvalidArgumentError(
            f"the shapes of {', '.join(unknown)} aren't fixed: give their ranges in input_shapes"
        )
    low, best, high = points
    spans = {name: ShapeRange(low[name], best[name], high[name]) for name in specs}
    return (ShapeProfile(spans),) if ranges else ()


def _calibrate(
    model: OnnxModel,
    specs: Mapping[str, tf.TensorSpec],
    precision: str,
    data: InputFn | str | Path | None,
) -> tuple[Calibration, _Batch]:
    """Statistics over the data, and its first batch."""
    if data is None:
        raise InvalidArgumentError(
            f"{precision} needs calibration_data: give a function that yields representative "
            "batches, or a directory of them"
        )
    if isinstance(data, str | Path):
        found = from_directory(Path(data), specs, _FILE_BATCH)
        data = (batch.inputs for batch in found)
    calibrator = Calibrator(model)
    for batch in batches(data, specs, "calibration_data"):
        calibrator.add(tuple(batch[name].numpy() for name in specs))
    return calibrator.result(), calibrator.kept[0] if calibrator.kept else ()


def _sampled(specs: Mapping[str, tf.TensorSpec], ranges: Mapping[str, ShapeRange]) -> _Batch:
    return tuple(sample_inputs(specs, ranges).values())


def _error(model: OnnxModel, typed: TypedOnnx, batch: _Batch) -> float | None:
    try:
        return Reference(model, [batch], relative_error).error(typed)
    except SessionError as error:
        logging.info("the typed model isn't compared on the CPU: %s", error)
        return None


def _named(plans: Sequence[Plan]) -> dict[str, Plan]:
    return {
        f"{plan.flavour}-{plan.version}-{'_'.join(plan.targets) or 'default'}.plan": plan
        for plan in plans
    }


def _report(path: Path, precision: str, found: OnnxEngines) -> str:
    plans = {
        name: {"targets": plan.targets, "bytes": plan.size, "seconds": round(plan.seconds, 3)}
        for name, plan in found.plans.items()
    }
    content = {
        "onnx": path.name,
        "precision": precision,
        "relative_error": found.relative_error,
        "plans": plans,
        "islands": [dataclasses.asdict(one) for one in found.islands],
    }
    return json.dumps(content, indent=2) + "\n"
