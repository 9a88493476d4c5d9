"""Calibration without a conversion: a SavedModel and data in, what a calibration file holds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tftrt_toolkit import calibrating
from tftrt_toolkit.conversion import Conversion
from tftrt_toolkit.errors import CalibrationError
from tftrt_toolkit.freeze import load_model, signature
from tftrt_toolkit.inputs import DataSource
from tftrt_toolkit.params import ToolkitOptions, TrtConversionParams
from tftrt_toolkit.precision import load_calibrations
from tftrt_toolkit.precision.calibration import Calibration
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.settings import Settings


def calibrate_model(
    saved_model_dir: Path | str,
    data: DataSource,
    *,
    tags: Sequence[str] = ("serve",),
    params: TrtConversionParams | None = None,
    options: ToolkitOptions | None = None,
    use_dynamic_shape: bool = True,
) -> dict[str, Calibration]:
    """Run a SavedModel on data; segment name -> statistics of its tensors. No TensorRT is needed.

    Segments are those of a conversion with the same `params`, `options` (of which those that shape
    segments count) and `use_dynamic_shape`, in any precision. The first of `options.signature_keys`
    is run, else "serving_default".

    Raises ModelError, InputError or CalibrationError where the model or the data don't fit.
    """
    options = options or ToolkitOptions()
    params = (params or TrtConversionParams())._replace(precision_mode="INT8")
    settings = Settings.resolve(params, options, use_dynamic_shape, None)
    stages = Stages(options.show_progress)
    key = (options.signature_keys or ["serving_default"])[0]
    with stages.stage("load", str(saved_model_dir)):
        model = load_model(Path(saved_model_dir), list(tags), [key])
    conversion = Conversion(str(saved_model_dir), settings, stages)
    conversion.analyze({key: signature(model, key)})
    run = calibrating.calibrate(conversion.signatures[0], data, stages)
    if not run.segments:
        raise CalibrationError(
            f"{saved_model_dir}: no part of it can become an engine that the data reach: "
            "convert_saved_model --dry_run lists every reason"
        )
    return {name: ranges.calibration for name, ranges in run.segments.items()}


def merge_calibrations(files: Sequence[Path]) -> dict[str, Calibration]:
    """The data of all files together, segment by segment.

    Raises CalibrationError, which names the file, if one can't be read or is of another model.
    """
    merged: dict[str, Calibration] = {}
    for file in files:
        merged = added(merged, load_calibrations(file), file)
    return merged


def added(
    left: Mapping[str, Calibration], right: Mapping[str, Calibration], source: Path | str
) -> dict[str, Calibration]:
    """Both data sets together. Raises CalibrationError, which names `source`, if they don't fit."""
    merged = dict(left)
    for name, calibration in right.items():
        try:
            merged[name] = merged[name] + calibration if name in merged else calibration
        except CalibrationError as error:
            raise CalibrationError(f"{source}: {name}: {error}") from error
    return merged
