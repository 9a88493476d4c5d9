"""`convert_function`: a live function becomes a live function with engines; no disk in between."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tftrt_toolkit import runtime
from tftrt_toolkit.conversion import Conversion
from tftrt_toolkit.engines import EngineSet
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.inputs import DataSource
from tftrt_toolkit.params import ToolkitOptions, TrtConversionParams
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.settings import Settings


@dataclasses.dataclass(frozen=True)
class FunctionConversion:
    """What `convert_function` made; callable as the function is.

    function: the converted ConcreteFunction, with the arguments and results of the original.
    report: what was converted and why the rest wasn't, as the converter's `report()`.
    """

    function: Any  # ConcreteFunction
    report: Mapping[str, Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the converted function."""
        return self.function(*args, **kwargs)


def convert_function(
    function: Any,
    *,
    precision_mode: str = "FP32",
    use_dynamic_shape: bool = True,
    dynamic_shape_profile_strategy: str | None = None,
    minimum_segment_size: int = 3,
    calibration_input_fn: DataSource | None = None,
    input_fn: DataSource | None = None,
    options: ToolkitOptions | None = None,
) -> FunctionConversion:
    """Convert a ConcreteFunction in memory, for training loops and `tf.Module`.

    Engines hold the weights as they are now: convert again after training on. (Segments that no
    engine runs here run in TensorFlow, which reads the variables as they are at each call.) The
    engines go when the function does.

    Args:
      function: a ConcreteFunction, as `tf.function(...).get_concrete_function(...)` gives it. Its
        tensors must be arguments of their own, not in lists or dictionaries.
      calibration_input_fn: yields calibration batches, or is a directory of them; INT8 and FP8
        need it (or a calibration file), FP16 and BF16 take it.
      input_fn: yields batches of the shapes to build engines for, where `options.input_shapes`
        doesn't give their ranges.
      precision_mode: see `TrtPrecisionMode`.
      use_dynamic_shape: as for TrtGraphConverterV2, and so are `dynamic_shape_profile_strategy` and
        `minimum_segment_size`.
      options: this toolkit's own; `signature_keys` has no meaning here.

    Raises:
      ValueError: the function or an argument can't be used; the message says why.
      ConversionError: nothing can be converted, or not all where all was required.
      EngineBuildError: TensorRT is there and no engine could be built.
    """
    _check_function(function)
    params = TrtConversionParams(
        precision_mode=precision_mode, minimum_segment_size=minimum_segment_size
    )
    settings = Settings.resolve(
        params, options or ToolkitOptions(), use_dynamic_shape, dynamic_shape_profile_strategy
    )
    stages = Stages(settings.options.show_progress)
    conversion = Conversion(f"function {function.name!r}", settings, stages)
    conversion.check_calibration(calibration_input_fn)
    engines = EngineSet(settings, stages)
    conversion.analyze({"function": function}, engines if calibration_input_fn is None else None)
    conversion.prepare(engines, calibration_input_fn)
    if input_fn is not None:
        conversion.build(input_fn)
    signature = conversion.signatures[0]
    converted = signature.converted.function
    resources = tuple(signature.converted.resources.values())
    weakref.finalize(converted, _release, resources).atexit = False
    return FunctionConversion(converted, conversion.report())


def _check_function(function: Any) -> None:
    if not hasattr(function, "structured_input_signature"):
        raise InvalidArgumentError(
            f"convert_function takes a ConcreteFunction, not {type(function).__name__}: "
            "give it tf.function(...).get_concrete_function(...)"
        )
    name = function.name.decode() if isinstance(function.name, bytes) else function.name
    args, kwargs = function.structured_input_signature
    for value in (*args, *kwargs.values()):
        if isinstance(value, list | tuple | dict):
            what = f"a {type(value).__name__} of tensors"
        elif isinstance(value, tf.TypeSpec) and not isinstance(value, tf.TensorSpec):
            what = value.value_type.__name__
        else:
            continue
        raise InvalidArgumentError(
            f"function {name!r} takes {what}: wrap it in a tf.function whose arguments are single "
            "tensors"
        )


def _release(resources: tuple[str, ...]) -> None:
    for resource in resources:
        runtime.bind(resource, None)
