"""A Keras model as one function from named tensors to named tensors, and as a plain SavedModel."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_toolkit.errors import InvalidArgumentError, ModelError

# Keras counts these up within a process: as an input's name they'd mean nothing tomorrow.
_AUTOMATIC = re.compile(r"keras_tensor(_\d+)?")


@dataclasses.dataclass(frozen=True)
class ServingModel:
    """A live Keras model as it is served.

    keras: the Keras that it belongs to, "keras" or "tf_keras".
    structure: of the model's one argument, a TensorSpec at each leaf; their names are the inputs'.
    function: the tf.function that is saved; concrete: its trace. Both read the live variables.
    """

    model: Any
    keras: str
    structure: Any
    function: Any
    concrete: Any

    @property
    def specs(self) -> dict[str, tf.TensorSpec]:
        """Input name -> its spec, in the structure's order."""
        return {spec.name: spec for spec in tf.nest.flatten(self.structure)}

    def save(self, directory: Path) -> None:
        """Write a plain SavedModel, with the signature `serving_default`."""
        archive = importlib.import_module(f"{self.keras}.export").ExportArchive()
        archive.track(self.model)
        archive.add_endpoint("serving_default", self.function)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints every endpoint
            archive.write_out(str(directory))


def serving_model(model: Any, input_signature: Any = None) -> ServingModel:
    """Trace a Keras model for inference, with inputs and outputs by name.

    input_signature: structure of the model's argument with anything at its leaves that has a shape
      and a dtype; None: what a functional model declares, or what another was built with.
    Inputs are named by the model's `Input`s or the argument's keys, outputs by the result's keys or
    a functional or sequential model's output layers, else `output_0` and so on.

    Raises InvalidArgumentError if it is no Keras model, ModelError if its inputs aren't known.
    """
    keras = keras_of(model)
    structure = _named(_declared(model) if input_signature is None else input_signature)
    names = [spec.name for spec in tf.nest.flatten(structure)]

    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        argument = tf.nest.pack_sequence_as(structure, [inputs[name] for name in names])
        return _by_name(model, model(argument, training=False))

    function = tf.function(serve, autograph=False)
    specs = {spec.name: spec for spec in tf.nest.flatten(structure)}
    return ServingModel(model, keras, structure, function, function.get_concrete_function(**specs))


def keras_of(model: Any) -> str:
    """ "keras" or "tf_keras": where a model's class comes from.

    Raises InvalidArgumentError if it is no Keras model, or one of a backend that isn't TensorFlow.
    """
    for base in type(model).__mro__:
        root = base.__module__.partition(".")[0]
        if root in ("keras", "tf_keras") and base.__name__ == "Model":
            if root == "keras":
                _check_backend()
            return root
    raise InvalidArgumentError(
        f"{type(model).__name__} is no Keras model: give a keras.Model or tf_keras.Model; "
        "convert_function takes other functions"
    )


def _check_backend() -> None:
    backend = importlib.import_module("keras.config").backend()
    if backend != "tensorflow":
        raise InvalidArgumentError(
            f"Keras runs on {backend} here: set KERAS_BACKEND=tensorflow and load the model again"
        )


def _declared(model: Any) -> Any:
    """The structure of the model's argument as Keras knows it."""
    if hasattr(model, "save_spec"):  # tf_keras
        spec = model.save_spec()
        arguments = spec[0] if spec else ()
        return _only(model, arguments)
    if getattr(model, "inputs", None):  # functional and sequential models of Keras 3
        functional = getattr(model, "input", None)
        if functional is not None:
            return functional
        return _any_batch(model.inputs[0])
    config = model.get_build_config() or {}
    shapes = config.get("shapes_dict") or {"inputs": config.get("input_shape")}
    known = [shape for shape in shapes.values() if shape is not None]
    return _from_shapes(_only(model, known), model.input_dtype)


def _only(model: Any, arguments: Any) -> Any:
    if not arguments:
        raise ModelError(
            f"the inputs of {type(model).__name__} {model.name!r} aren't known: call it once, or "
            "give input_signature"
        )
    if len(arguments) > 1:
        raise ModelError(
            f"{type(model).__name__} {model.name!r} takes {len(arguments)} arguments: let it take "
            "one, a list or dictionary of tensors, or give input_signature"
        )
    return arguments[0]


def _from_shapes(shapes: Any, dtype: Any) -> Any:
    """TensorSpecs of any batch for a structure of shapes."""
    if isinstance(shapes, Mapping):
        return {key: _from_shapes(value, dtype) for key, value in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return _any_batch(tf.TensorSpec(shapes, dtype))
    return [_from_shapes(value, dtype) for value in shapes]


def _any_batch(spec: Any) -> tf.TensorSpec:
    shape = list(spec.shape)
    return tf.TensorSpec([None, *shape[1:]] if shape else shape, spec.dtype, _own_name(spec))


def _own_name(spec: Any) -> str | None:
    name = getattr(spec, "name", None)
    return None if name is None or _AUTOMATIC.fullmatch(name) else name


def _named(structure: Any) -> Any:
    """TensorSpecs in a plain structure, each with a name of its own that an argument may have."""
    flat = list(_leaves(structure))
    names: dict[str, None] = {}
    specs = []
    for index, (key, leaf) in enumerate(flat):
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            raise InvalidArgumentError(
                f"input_signature holds {type(leaf).__name__}, which has no shape and dtype: give "
                "tf.TensorSpec"
            )
        plain = "inputs" if len(flat) == 1 else f"inputs_{index}"
        name = _unique(key or _own_name(leaf) or plain, names)
        specs.append(tf.TensorSpec(leaf.shape, leaf.dtype, name))
    return _packed(structure, iter(specs))


def _leaves(structure: Any, key: str | None = None) -> Iterator[tuple[str | None, Any]]:
    """(its key in the innermost dictionary, leaf), dictionaries in the order of their keys."""
    if isinstance(structure, Mapping):
        for name in sorted(structure):
            yield from _leaves(structure[name], str(name))
    elif isinstance(structure, list | tuple):
        for value in structure:
            yield from _leaves(value, key)
    else:
        yield key, structure


def _packed(structure: Any, leaves: Iterator[Any]) -> Any:
    """Plain dictionaries and lists; Keras and TensorFlow wrap theirs in classes of their own."""
    if isinstance(structure, Mapping):
        return {name: _packed(structure[name], leaves) for name in sorted(structure)}
    if isinstance(structure, list | tuple):
        return [_packed(value, leaves) for value in structure]
    return next(leaves)


def _by_name(model: Any, outputs: Any) -> dict[str, tf.Tensor]:
    leaves = list(_leaves(outputs))
    known = _layer_names(model)
    if len(known) != len(leaves):
        known = [""] * len(leaves)
    names: dict[str, None] = {}
    for index, ((key, _), own) in enumerate(zip(leaves, known, strict=True)):
        _unique(key or own or f"output_{index}", names)
    return {name: tf.convert_to_tensor(leaf) for name, (_, leaf) in zip(names, leaves, strict=True)}


def _layer_names(model: Any) -> list[str]:
    """The output layers, of models that are made of layers."""
    if any(base.__name__ == "Sequential" for base in type(model).__mro__):
        return [model.layers[-1].name]
    return list(getattr(model, "output_names", None) or ())


def as_name(text: Any) -> str:
    """An input's key as the name of an argument."""
    name = re.sub(r"\W", "_", str(text))
    return f"_{name}" if name[:1].isdigit() else name


def _unique(wanted: str, taken: dict[str, None]) -> str:
    """`wanted` as an argument's name that isn't taken yet; marks it as taken."""
    base = as_name(wanted)
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    taken[name] = None
    return name
