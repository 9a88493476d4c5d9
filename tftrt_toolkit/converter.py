"""The public converter: the stock TrtGraphConverterV2's contract over this toolkit's pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from tftrt_toolkit import inputs
from tftrt_toolkit.artifacts import LoadedModel
from tftrt_toolkit.assemble import check_output, save_model
from tftrt_toolkit.conversion import Conversion
from tftrt_toolkit.converter_base import ConverterBase, Request
from tftrt_toolkit.engines import EngineSet
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.freeze import load_model, signature
from tftrt_toolkit.precision import save_calibrations, save_overrides
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.settings import Settings
from tftrt_toolkit.summary import print_summary
from tftrt_toolkit.validation.gate import Gate, pass_gate


class TrtGraphConverterV2(ConverterBase):
    """Converts a SavedModel into one whose convertible parts run as TensorRT engines.

    The stock converter's arguments come first, with their names, order and meaning; `options` holds
    what this toolkit adds (`ToolkitOptions`). The usual order of calls:

        converter = TrtGraphConverterV2(input_saved_model_dir="model", precision_mode="FP16")
        converter.convert()
        converter.build(input_fn)   # where shapes aren't known before
        converter.save("converted")

    Args:
      input_saved_model_dir: directory of the SavedModel.
      input_saved_model_tags: tags of its meta graph; None means ["serve"].
      input_saved_model_signature_key: the signature to convert; None means "serving_default". All
        others are kept; `options.signature_keys` converts several.
      use_dynamic_shape: build one engine for ranges of shapes. None means False: then only nodes
        whose shapes are known but for the batch convert, and each shape gets an engine of its own.
      dynamic_shape_profile_strategy: "Range" (None), "Optimal", "Range+Optimal" or
        "ImplicitBatchModeCompatible", in any case.
      max_workspace_size_bytes: most scratch memory of an engine, in bytes.
      precision_mode: see `TrtPrecisionMode`.
      minimum_segment_size: least nodes of an engine; -1 converts only functions that are marked
        `_tftrt_convert_function`.
      maximum_cached_engines: engines kept at run time for each segment.
      use_calibration: whether INT8 ranges come from calibration data.
      allow_build_at_runtime: whether an engine that is missing may be built while the model runs.
      conversion_params: a TrtConversionParams that overrides the arguments above (deprecated).
      options: this toolkit's own options.
      backend: "toolkit" (None). TensorFlow up to 2.17 has "stock" instead: its own converter.

    Raises:
      ValueError: an argument can't be used; the message says why.
    """

    backend = "toolkit"

    def _set_up(self, request: Request) -> None:
        self._directory = request.directory
        self._tags = list(request.tags or ["serve"])
        self._settings = Settings.resolve(
            request.params, request.options, request.use_dynamic_shape, request.strategy
        )
        self._keys = list(self._settings.options.signature_keys or [request.signature_key])
        self._stages = Stages(self._settings.options.show_progress)
        self._model: LoadedModel | None = None
        self._conversion = Conversion(str(self._directory), self._settings, self._stages)
        self._build_called = False
        self._validation: dict[str, Any] = {}

    def convert(self, calibration_input_fn: inputs.DataSource | None = None) -> Callable[..., Any]:
        """Convert, and build engines where shapes are known; returns the converted function.

        Args:
          calibration_input_fn: yields calibration batches: arrays, lists, tuples or dicts; or a
            directory of .npz, TFRecord or image files. INT8 and FP8 need it (or a calibration
            file), FP16 and BF16 take it.

        Raises:
          AssertionError: convert() was called before.
          ValueError: calibration data is missing, or given where none is needed.
          ConversionError: nothing can be converted, or not all where all was required.
        """
        if self._converted:
            raise AssertionError("convert() was called before: make a new converter")
        self._conversion.check_calibration(calibration_input_fn)
        engine_set = EngineSet(self._settings, self._stages)  # refuses targets before the work
        if not self._conversion.signatures:
            self._analyze(engine_set if calibration_input_fn is None else None)
        self._conversion.prepare(engine_set, calibration_input_fn)
        return self._conversion.signatures[0].converted.function

    def analyze(self) -> dict[str, Any]:
        """Do all of convert() that builds no engine, and return the report."""
        if not self._conversion.signatures:
            self._analyze()
        return self.report()

    def build(self, input_fn: inputs.DataSource, *, tune: bool = False) -> None:
        """Build engines of the (first) converted signature for the shapes that `input_fn` yields.

        Args:
          input_fn: yields batches: arrays, lists, tuples or dicts, of each shape to build for; or
            a directory of files, as in `convert`.
          tune: time each segment's executors on the first batch of each shape, on this machine.
            The winners are saved, by device and shape, and taken wherever the model is loaded on
            such a device. On a GPU it takes some seconds a shape; use the machine for nothing else.

        Raises:
          NotImplementedError: build() was called before.
          RuntimeError: no input_fn, it yields nothing, or convert() wasn't called.
          EngineBuildError: TensorRT is there and no engine could be built.
        """
        if self._build_called:
            raise NotImplementedError("build() was called before: it can be called only once")
        if not input_fn:
            raise RuntimeError("build() needs input_fn, to know the shapes to build engines for")
        if self._conversion.engines is None:
            raise RuntimeError("convert() must be called before build()")
        self._conversion.build(input_fn, tune)
        self._build_called = True

    def save(
        self,
        output_saved_model_dir: str,
        save_gpu_specific_engines: bool = True,
        options: tf.saved_model.SaveOptions | None = None,
        *,
        overwrite: bool = False,
        validate: Gate | None = None,
    ) -> None:
        """Save the converted model; may be called again.

        Args:
          output_saved_model_dir: where to; written beside it and renamed, so that a kill leaves
            what was there before.
          save_gpu_specific_engines: False leaves the plans out; they are built on the target.
          options: taken for the stock signature's sake; has no effect, since the model's own files
            are kept and only its graph is edited.
          overwrite: replace the directory if it exists and isn't empty.
          validate: compare the model with the original first, and save it only if it passes.

        Raises:
          AssertionError: convert() wasn't called.
          ValidationError: the model doesn't pass `validate`; nothing is saved.
          RuntimeError: calibration is pending: call build() first.
          OutputExistsError: the directory isn't empty and `overwrite` is False.
        """
        if self._conversion.engines is None:
            raise AssertionError("convert() must be called before save()")
        if self.calibration_pending:
            raise RuntimeError("calibration is pending: call build() before save()")
        if options is not None:
            logging.warning("SaveOptions have no effect: the original's own files are kept")
        target = Path(output_saved_model_dir)
        check_output(target, overwrite)
        if validate is not None:
            self._pass_gate(validate, target, save_gpu_specific_engines)
        with self._stages.stage("save", output_saved_model_dir):
            self._write(target, save_gpu_specific_engines, overwrite)

    def _write(self, target: Path, with_plans: bool, overwrite: bool = False) -> None:
        assert self._conversion.engines is not None
        assert self._model is not None
        save_model(
            self._model,
            {one.key: one.converted for one in self._conversion.signatures},
            self._conversion.engines.asset_files(with_plans=with_plans),
            target,
            report=self.report(),
            overwrite=overwrite,
            max_cached_engines_count=self._settings.params.maximum_cached_engines,
        )

    def _pass_gate(self, gate: Gate, target: Path, with_plans: bool) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._stages.stage("validate"):
            result = pass_gate(
                gate.for_tags(self._tags),
                self._directory,
                self._settings.precision,
                target.parent,
                lambda scratch: self._write(scratch, with_plans),
                self._conversion.demote,
            )
        self._validation = result.to_dict()

    def save_calibration_file(self, path: Path | str) -> None:
        """Write what was calibrated, for `ToolkitOptions.calibration_file` of other conversions.

        Raises RuntimeError if nothing was.
        """
        engines = self._conversion.engines
        calibrations = engines.typer.calibrations() if engines else {}
        if not calibrations:
            raise RuntimeError("nothing was calibrated: give convert() calibration data")
        save_calibrations(path, calibrations)

    def save_precision_file(self, path: Path | str) -> None:
        """Write the nodes that `precision_file` and `max_error` keep in a higher precision."""
        if self._conversion.engines is None:
            raise RuntimeError("convert() must be called before save_precision_file()")
        save_overrides(path, self._conversion.engines.typer.overrides)

    def release(self) -> None:
        """Let go of the engines behind the live function, which runs in TensorFlow from now on.

        For processes that convert many models. Saved models aren't affected, but for those that
        this process has loaded already, whose engines these are.
        """
        if self._conversion.engines is not None:
            self._conversion.engines.release()

    def summary(
        self,
        line_length: int = 160,
        detailed: bool = True,
        print_fn: Callable[[str], Any] | None = None,
    ) -> None:
        """Print a table of the engines, and why the other nodes stayed native.

        Raises:
          RuntimeError: convert() (or analyze()) wasn't called.
          ValueError: `line_length` is below 160.
        """
        if not self._conversion.signatures:
            raise RuntimeError("convert() must be called before summary()")
        if line_length < 160:
            raise InvalidArgumentError(f"line_length={line_length} is too short: at least 160")
        print_summary(self.report(), line_length, detailed, print_fn or print)

    def report(self) -> dict[str, Any]:
        """All that the conversion did and why, ready for JSON."""
        if not self._conversion.signatures:
            raise RuntimeError("convert() must be called before report()")
        report = self._conversion.report()
        report["notes"] += self._model.notes if self._model else ()
        return report | ({"validation": self._validation} if self._validation else {})

    @property
    def calibration_pending(self) -> bool:
        """Whether calibration waits for `build`, as shapes aren't known before."""
        engines = self._conversion.engines
        return engines is not None and engines.calibration_pending

    @property
    def _converted(self) -> bool:
        return self._conversion.engines is not None

    def _analyze(self, engine_set: EngineSet | None = None) -> None:
        with self._stages.stage("load", str(self._directory)):
            self._model = load_model(self._directory, self._tags, self._keys)
        for note in self._model.notes:
            logging.warning("%s", note)
        functions = {key: signature(self._model, key) for key in self._keys}
        self._conversion.analyze(functions, engine_set)
