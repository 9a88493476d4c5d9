"""The two models as things that can be called on numpy arrays, and whether they match."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tftrt_toolkit.errors import InvalidArgumentError, ModelError, ValidationError, error_line
from tftrt_toolkit.inputs import signature_specs, to_numpy
from tftrt_toolkit.tensorflow_version import has_stock_converter

Arrays = dict[str, np.ndarray]
REPORT_FILE = Path("assets.extra") / "tftrt_report.json"


class Runnable(Protocol):
    """A model whose signatures run on numpy arrays."""

    @property
    def name(self) -> str:
        """For the report: the directory where there is one."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """What each signature takes and gives."""

    def run(self, key: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """The signature's outputs by name."""

    def run_nudged(self, key: str, inputs: Mapping[str, np.ndarray], seed: int) -> Arrays:
        """The same with float32 inputs and weights moved to neighbouring floats at random."""


@dataclasses.dataclass(frozen=True)
class Signature:
    """Input and output specs by name."""

    inputs: Mapping[str, tf.TensorSpec]
    outputs: Mapping[str, tf.TensorSpec]


class LocalModel:
    """A model in this process: a SavedModel's directory, a loaded one, or a concrete function."""

    def __init__(self, model: Any, tags: tuple[str, ...] = ("serve",)) -> None:
        """Load it if it is a directory. Raises ModelError if it can't be loaded."""
        self.name = str(model) if isinstance(model, str | Path) else type(model).__name__
        self.directory = Path(model) if isinstance(model, str | Path) else None
        self.tags = tags
        self.check: Callable[[], None] = lambda: None  # after each run; raises ValidationError
        self.loaded = load(self.directory, tags) if self.directory else model
        self.functions: dict[str, Any] = (
            dict(self.loaded.signatures)
            if hasattr(self.loaded, "signatures")
            else {"serving_default": self.loaded}
        )
        self.signatures = {
            key: Signature(signature_specs(function), _output_specs(function))
            for key, function in self.functions.items()
        }

    def run(self, key: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Outputs by name. Raises ValidationError, with TensorFlow's words, if it fails."""
        try:
            tensors = {
                name: tf.constant(inputs[name], spec.dtype)
                for name, spec in self.signatures[key].inputs.items()
            }
            found = _by_name(self.functions[key](**tensors))
            arrays = {name: to_numpy(tensor) for name, tensor in found.items()}
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise ValidationError(error_line(error)) from error
        self.check()
        return arrays

    def run_nudged(self, key: str, inputs: Mapping[str, np.ndarray], seed: int) -> Arrays:
        """The same with float32 inputs and weights moved to neighbouring floats at random.

        Of a model that this process didn't load itself, which others may be using, the inputs only.
        """
        rng = np.random.default_rng(seed)
        variables = _float_variables(self.functions[key]) if self.directory else []
        values = [variable.numpy() for variable in variables]
        try:
            for variable, array in zip(variables, values, strict=True):
                variable.assign(nudged(array, rng))
            return self.run(key, {name: nudged(array, rng) for name, array in inputs.items()})
        finally:
            for variable, array in zip(variables, values, strict=True):
                variable.assign(array)


def nudged(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each value of a float32 array as the next greater or the next smaller float, by chance."""
    if array.dtype != np.float32:
        return array
    towards = np.where(rng.random(array.shape, np.float32) < 0.5, -np.inf, np.inf)
    return np.nextafter(array, towards.astype(np.float32))


def _float_variables(function: Any) -> list[Any]:
    found = getattr(function, "variables", ())
    return [one for one in found if one.dtype == tf.float32 and hasattr(one, "numpy")]


def load(directory: Path, tags: tuple[str, ...] = ("serve",)) -> Any:
    """Load a SavedModel with the ops of converted models registered; raises ModelError."""
    if not has_stock_converter():
        from tftrt_toolkit import runtime

        runtime.load_ops()
    try:
        return tf.saved_model.load(str(directory), tags=list(tags))
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
        raise ModelError(
            f"{directory} can't be loaded as a SavedModel: {error_line(error)}"
        ) from error


def conversion_report(directory: Path | None) -> Mapping[str, Any]:
    """The report that a converted SavedModel carries; empty for other models."""
    if directory is None or not (directory / REPORT_FILE).exists():
        return {}
    return json.loads((directory / REPORT_FILE).read_text())


def common_keys(original: Runnable, converted: Runnable, asked: tuple[str, ...]) -> list[str]:
    """The signatures to compare: those asked for, else all of the original.

    Raises InvalidArgumentError for an unknown one, ModelError if the converted model lacks one.
    """
    for key in asked:
        if key not in original.signatures:
            raise InvalidArgumentError(
                f"{original.name} has no signature {key!r}: "
                f"choose from {', '.join(original.signatures)}"
            )
    keys = list(asked or original.signatures)
    for key in keys:
        if key not in converted.signatures:
            raise ModelError(
                f"{converted.name} lacks the signature {key!r} of {original.name}: it has "
                f"{', '.join(converted.signatures) or 'none'}"
            )
        problem = mismatch(original.signatures[key], converted.signatures[key])
        if problem:
            raise ModelError(f"signature {key!r} isn't the same in both models: {problem}")
    return keys


def mismatch(original: Signature, converted: Signature) -> str:
    """How two signatures differ, in one clause; empty if they don't."""
    for kind in ("inputs", "outputs"):
        left, right = getattr(original, kind), getattr(converted, kind)
        if left.keys() != right.keys():
            return f"{kind} {sorted(left)} became {sorted(right)}"
        for name, spec in left.items():
            other = right[name]
            if spec.dtype != other.dtype:
                return f"{kind[:-1]} {name!r} was {spec.dtype.name} and is {other.dtype.name}"
            narrower = kind == "inputs" and not spec.shape.is_subtype_of(other.shape)
            if narrower or not spec.shape.is_compatible_with(other.shape):
                return f"{kind[:-1]} {name!r} had shape {spec.shape} and has {other.shape}"
    return ""


def _output_specs(function: Any) -> dict[str, tf.TensorSpec]:
    return {
        name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
        for name, tensor in _by_name(function.structured_outputs).items()
    }


def _by_name(outputs: Any) -> dict[str, Any]:
    if isinstance(outputs, Mapping):
        return dict(outputs)
    flat = tf.nest.flatten(outputs)
    return {f"output_{index}": tensor for index, tensor in enumerate(flat)}
