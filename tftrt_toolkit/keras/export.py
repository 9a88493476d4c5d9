"""`export`: a live Keras model becomes a SavedModel with engines."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.assemble import check_output
from tftrt_toolkit.assemble.output import replaced_directory
from tftrt_toolkit.converter import TrtGraphConverterV2
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.keras.data import DataSlice
from tftrt_toolkit.keras.options import ExportOptions
from tftrt_toolkit.keras.serving import ServingModel, as_name, serving_model
from tftrt_toolkit.params import ToolkitOptions
from tftrt_toolkit.validation import Gate, ValidationOptions


@dataclasses.dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    directory: the converted SavedModel. report: of its conversion, the validation in it.
    inputs: names of the signature's inputs.
    """

    directory: Path
    report: Mapping[str, Any]
    inputs: tuple[str, ...]


def export(model: Any, directory: str | Path, **arguments: Any) -> Exported:
    """Export a Keras model and convert it to a SavedModel with engines, in one go.

    Takes models of Keras 3 (with its TensorFlow backend) and of tf_keras 2, functional, sequential
    and subclassed. The model is traced for inference. Its inputs are named by its `Input`s or the
    keys of its argument, its outputs by the keys of its result or the output layers of a functional
    or sequential model, else `output_0` and so on.

    Args:
      model: a built `keras.Model` or `tf_keras.Model`.
      directory: where the converted SavedModel goes; it appears whole or not at all.
      arguments: the fields of `ExportOptions`: precision_mode, batch_sizes, data and more.

    Raises:
      ValueError: the model, its data or an argument can't be used; the message says why.
      ConversionError: nothing can be converted.
      ValidationError: the converted model isn't the live one any more; nothing was written.
      OutputExistsError: a directory isn't empty and `overwrite` is False.
    """
    return export_with(model, directory, ExportOptions(**arguments))


def export_with(model: Any, directory: str | Path, asked: ExportOptions) -> Exported:
    """`export`, its arguments checked before."""
    check_outputs(directory, asked)
    if not tf.distribute.has_strategy():
        return _export(model, Path(directory), asked)
    # A strategy holds for its thread: under it a loaded SavedModel's variables would be spread.
    with ThreadPoolExecutor(1) as other_thread:
        return other_thread.submit(_export, model, Path(directory), asked).result()


def check_outputs(directory: str | Path, asked: ExportOptions) -> None:
    """Raise OutputExistsError where a model may not be written."""
    check_output(directory, asked.overwrite)
    if asked.original_dir is not None:
        check_output(asked.original_dir, asked.overwrite)


def _export(model: Any, directory: Path, asked: ExportOptions) -> Exported:
    serving = serving_model(model, asked.input_signature)
    with _original_directory(model, asked) as original:
        serving.save(original)
        converter = TrtGraphConverterV2(
            str(original),
            precision_mode=asked.precision_mode,
            options=_options(serving, asked),
            **{"use_dynamic_shape": True, **asked.converter_arguments},
        )
        try:
            converter.convert(_calibration(serving, asked))
            gate = _gate(serving, asked) if asked.validate else None
            converter.save(str(directory), overwrite=asked.overwrite, validate=gate)
        finally:
            converter.release()  # training may export many times
        return Exported(directory, converter.report(), tuple(serving.specs))


@contextlib.contextmanager
def _original_directory(model: Any, asked: ExportOptions) -> Iterator[Path]:
    """Where the plain SavedModel goes: for good where that was asked for."""
    if asked.original_dir is not None:
        with replaced_directory(Path(asked.original_dir)) as fresh:
            yield fresh
        return
    with tempfile.TemporaryDirectory(prefix="tftrt_keras_") as scratch:
        yield Path(scratch, as_name(model.name))  # which errors name


def _slice(serving: ServingModel, asked: ExportOptions, data: Any) -> DataSlice:
    return DataSlice(data, serving.specs, asked.batch_size, asked.max_batches)


def _calibration(serving: ServingModel, asked: ExportOptions) -> Any:
    """The calibration input function, where one is needed."""
    if not asked.needs_calibration:
        return None
    data = asked.validation_data if asked.calibration_data is None else asked.calibration_data
    return _slice(serving, asked, data).inputs


def _gate(serving: ServingModel, asked: ExportOptions) -> Gate:
    options = asked.validation_options or ValidationOptions()
    options = dataclasses.replace(options, signature_keys=("serving_default",))
    data = asked.calibration_data if asked.validation_data is None else asked.validation_data
    if data is None:
        return Gate(options=options, original=serving.concrete)
    batches = _slice(serving, asked, data)
    labelled = batches.has_classes()
    return Gate(
        input_fn=batches.labelled if labelled else batches.inputs,
        options=dataclasses.replace(options, labelled=labelled),
        original=serving.concrete,
    )


def _options(serving: ServingModel, asked: ExportOptions) -> ToolkitOptions:
    options = asked.options or ToolkitOptions()
    if asked.batch_sizes is None:
        return options
    ranges = {}
    for name, spec in serving.specs.items():
        sizes = spec.shape.as_list() if spec.shape.rank else [0]
        if None in sizes[1:]:
            raise InvalidArgumentError(
                f"batch_sizes leaves more of input {name!r} open than the batch ({spec.shape}): "
                "give options.input_shapes"
            )
        if spec.shape.rank and sizes[0] is None:
            ranges[name] = ShapeRange(*((size, *sizes[1:]) for size in asked.batch_sizes))
    return dataclasses.replace(options, input_shapes=ranges)
