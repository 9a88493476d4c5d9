"""How a Keras model is exported."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.params import ToolkitOptions
from tftrt_toolkit.precision.apply import QUANTIZED, known_precision
from tftrt_toolkit.validation import ValidationOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a Keras model is exported: the keyword arguments of `export` and of `TensorRTExport`.

    Data is what `fit` and `evaluate` take: arrays, `(x, y)`, a `tf.data.Dataset`, a PyDataset or
    Sequence, or a function that returns batches.

    precision_mode: see `TrtPrecisionMode`.
    batch_sizes: least, best-tuned and greatest batch: engines are built for them at once where the
      batch is all that the inputs' shapes leave open. Else give `options.input_shapes`.
    input_signature: structure of the model's argument, a `tf.TensorSpec` at each leaf; needed for
      subclassed models that were never called.
    calibration_data: for INT8 and FP8; None: the validation data.
    validation_data: the converted model is compared with the live one on it; None: the calibration
      data, else random inputs. Accuracy is compared where labels are class numbers.
    batch_size: into which arrays are cut. max_batches: at most so many of each data are used.
    validate: refuse to write a model that misses its precision's tolerances.
    validation_options: how to validate.
    original_dir: write the plain SavedModel here too, for TensorFlow Serving or to compare with.
    options: this toolkit's other options.
    converter_arguments: other arguments of TrtGraphConverterV2.
    overwrite: replace directories that exist and aren't empty.

    Raises InvalidArgumentError where the arguments can't work together.
    """

    precision_mode: str = "FP32"
    batch_sizes: tuple[int, int, int] | None = None
    input_signature: Any = None
    calibration_data: Any = None
    validation_data: Any = None
    batch_size: int = 32
    max_batches: int = 16
    validate: bool = True
    validation_options: ValidationOptions | None = None
    original_dir: str | Path | None = None
    options: ToolkitOptions | None = None
    converter_arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what could only fail after the training."""
        known_precision(self.precision_mode)
        data = (self.calibration_data, self.validation_data)
        if self.needs_calibration and all(one is None for one in data):
            raise InvalidArgumentError(
                f"{self.precision_mode} needs data to calibrate on: give calibration_data or "
                "validation_data"
            )
        sizes = self.batch_sizes
        if sizes is not None and not (len(sizes) == 3 and 1 <= sizes[0] <= sizes[1] <= sizes[2]):
            raise InvalidArgumentError(
                f"batch_sizes={sizes} is not 1 <= min <= opt <= max: give three numbers, such as "
                "(1, 32, 128)"
            )
        if sizes is not None and self.options is not None and self.options.input_shapes:
            raise InvalidArgumentError(
                "batch_sizes and options.input_shapes both give shapes: give one of them"
            )
        for name in ("batch_size", "max_batches"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name}={getattr(self, name)} must be at least 1")

    @property
    def needs_calibration(self) -> bool:
        """Whether the conversion takes calibration data."""
        calibrated = self.precision_mode.upper() in QUANTIZED
        return calibrated and self.converter_arguments.get("use_calibration", True)
