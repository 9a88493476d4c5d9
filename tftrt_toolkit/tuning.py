"""Tunes converted models: times the executors on the machine at hand and keeps the winners.

The winners go into the assets' manifests by device and shapes; whoever loads the model on such a
device has each segment run by the one of the nearest shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_toolkit import runtime
from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import InputError, ModelError
from tftrt_toolkit.inputs import batches, signature_specs
from tftrt_toolkit.manifest import TunedExecutor

Batch = dict[str, Any]
Winners = dict[str, tuple[TunedExecutor, ...]]


def tune_function(
    function: Callable[..., Any],
    inputs: Iterable[Batch],
    assets: Mapping[str, AssetFile],
    executors: Sequence[str] = runtime.CANDIDATES,
) -> Winners:
    """Resource -> its winner for each of the batches, as `runtime.tune` finds it.

    function: takes a batch by keywords; in it are the segments of `assets`, by resource.
    """
    winners: dict[str, list[TunedExecutor]] = {}
    for batch in inputs:
        found = runtime.tune(lambda batch=batch: function(**batch), assets, executors=executors)  # type: ignore[misc]
        for resource, winner in found.items():
            winners.setdefault(resource, []).append(winner)
    return {resource: tuple(found) for resource, found in winners.items()}


def tune_model(
    directory: Path | str,
    input_fn: Callable[[Mapping[str, tf.TensorSpec]], Iterable[Any]],
    *,
    signature_key: str = "serving_default",
    tags: Sequence[str] | None = None,
    executors: Sequence[str] = runtime.CANDIDATES,
) -> Winners:
    """Tune a converted SavedModel in place, for the shapes that `input_fn` yields.

    input_fn: takes the signature's inputs, and yields batches: arrays, lists, tuples or dicts.
    Each asset is replaced at once: a kill leaves a model that works. Winners of other devices and
    shapes stay. Returns resource name -> winners.

    Raises ModelError if there is no such signature or no engine in the model, InputError if
    `input_fn` yields nothing or what the signature doesn't take, InvalidArgumentError on an unknown
    executor.
    """
    root = Path(directory).absolute()
    model = runtime.load(root, tags)
    if signature_key not in model.signatures:
        known = ", ".join(sorted(model.signatures)) or "none"
        raise ModelError(f"{directory} has no signature {signature_key!r}: it has {known}")
    assets = {
        resource: AssetFile.open(path)
        for resource, path in runtime.loaded_assets().items()
        if root in path.absolute().parents
    }
    if not assets:
        raise ModelError(f"{directory} has no engines: convert it with convert_saved_model first")
    function = model.signatures[signature_key]
    specs = signature_specs(function)
    chosen: list[Batch] = []
    for _ in first_of_each_shape(batches(lambda: input_fn(specs), specs, "input_fn"), into=chosen):
        pass
    if not chosen:
        raise InputError("input_fn yields no batch: yield one of each shape to tune for")
    winners = tune_function(function, chosen, assets, executors)
    for resource, found in winners.items():
        runtime.bind(resource, assets[resource].with_tuned(found))
    return winners


def first_of_each_shape(source: Iterable[Batch], into: list[Batch]) -> Iterator[Batch]:
    """Yield all batches; put the first of each set of shapes into a list on the way."""
    seen = set()
    for batch in source:
        shapes = tuple((name, tuple(value.shape)) for name, value in batch.items())
        if shapes not in seen:
            seen.add(shapes)
            into.append(batch)
        yield batch


def on_any_machine(winners: Sequence[TunedExecutor]) -> list[TunedExecutor]:
    """Those that a model without plans can hold."""
    return [winner for winner in winners if winner.executor != "tensorrt"]
