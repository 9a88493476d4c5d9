"""TensorFlow Lite models: made from SavedModels, and run as other models are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from tftrt_toolkit.errors import (
    ConversionError,
    InvalidArgumentError,
    ModelError,
    ValidationError,
    error_line,
)
from tftrt_toolkit.files import replaced_file
from tftrt_toolkit.saved_model import find_meta_graph, read_saved_model
from tftrt_toolkit.validation.models import Arrays, LocalModel, Signature, nudged

SUFFIX = ".tflite"
PRECISIONS = ("FP32", "FP16", "INT8")


def convert_to_tflite(
    saved_model_dir: Path | str,
    output: Path | str,
    *,
    tags: Sequence[str] = ("serve",),
    signature_keys: Sequence[str] = ("serving_default",),
    precision: str = "FP32",
) -> None:
    """Write a SavedModel as a TensorFlow Lite file.

    precision: "FP32"; "FP16" stores weights so; "INT8" quantizes weights, activations as they come
      (dynamic range). Ops that TensorFlow Lite lacks run in TensorFlow's own kernels.

    Raises ModelError if there is no such SavedModel, ConversionError with TensorFlow's reason.
    """
    saved_model_dir = Path(saved_model_dir)
    if precision not in PRECISIONS:
        raise InvalidArgumentError(
            f"TensorFlow Lite precision {precision!r} is not one of {', '.join(PRECISIONS)}"
        )
    find_meta_graph(read_saved_model(saved_model_dir), saved_model_dir, tags)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(saved_model_dir), signature_keys=list(signature_keys), tags=set(tags)
    )
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    if precision != "FP32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "FP16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        content = converter.convert()
    except (ConverterError, ValueError, RuntimeError) as error:
        reason = error_line(error).rpartition("): ")[2]  # behind the op's place in the graph
        raise ConversionError(
            f"{saved_model_dir} can't become a TensorFlow Lite model: {reason}"
        ) from error
    with replaced_file(output) as partial:
        partial.write_bytes(content)


class TFLiteModel:
    """A .tflite file in this process, run by TensorFlow's interpreter on all allowed cores."""

    directory = None
    tags: tuple[str, ...] = ()
    check: Any = None

    def __init__(self, file: Path | str) -> None:
        """Raises ModelError if it can't be read, or has no signature."""
        self.name = str(file)
        try:
            interpreter = tf.lite.Interpreter(
                model_path=self.name, num_threads=len(os.sched_getaffinity(0))
            )
            self._runners = {
                key: interpreter.get_signature_runner(key)
                for key in interpreter.get_signature_list()
            }
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{file} can't be read as a TensorFlow Lite model: {error_line(error)}"
            ) from error
        if not self._runners:
            raise ModelError(f"{file} has no signature: convert it from a SavedModel anew")
        self._interpreter = interpreter  # its tensors live as long as it
        self.signatures = {
            key: Signature(_specs(runner.get_input_details()), _specs(runner.get_output_details()))
            for key, runner in self._runners.items()
        }

    def run(self, key: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Outputs by name. Raises ValidationError, with the interpreter's words, if it fails."""
        specs = self.signatures[key].inputs
        for name, spec in specs.items():  # the interpreter lets wrong shapes pass
            if not spec.shape.is_compatible_with(inputs[name].shape):
                raise ValidationError(
                    f"input {name!r} has shape {inputs[name].shape}, the model takes {spec.shape}"
                )
        try:
            return dict(self._runners[key](**{name: inputs[name] for name in specs}))
        except (ValueError, RuntimeError, TypeError) as error:
            raise ValidationError(error_line(error)) from error

    def run_nudged(self, key: str, inputs: Mapping[str, np.ndarray], seed: int) -> Arrays:
        """The same with float32 inputs moved to neighbouring floats; weights are in the file."""
        rng = np.random.default_rng(seed)
        return self.run(key, {name: nudged(array, rng) for name, array in inputs.items()})


def open_model(model: Any, tags: tuple[str, ...] = ("serve",)) -> LocalModel | TFLiteModel:
    """A .tflite file, or whatever else `LocalModel` takes. Raises ModelError."""
    if isinstance(model, str | Path) and Path(model).suffix == SUFFIX:
        return TFLiteModel(model)
    return LocalModel(model, tags)


def _specs(details: Mapping[str, Mapping[str, Any]]) -> dict[str, tf.TensorSpec]:
    return {
        name: tf.TensorSpec(
            [None if size < 0 else int(size) for size in found["shape_signature"]],
            found["dtype"],
            name,
        )
        for name, found in details.items()
    }
