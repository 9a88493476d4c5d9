"""Optimization profiles from the input shapes that were seen, as the stock strategies do it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from tftrt_toolkit.artifacts import ShapeProfile, ShapeRange
from tftrt_toolkit.errors import InputError, InvalidArgumentError
from tftrt_toolkit.params import PROFILE_STRATEGIES

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class ObservedInputs:
    """One call of a segment: the shape of each input, and the values of those that are shapes.

    shapes: input name -> shape. values: input name -> values, of int32 and int64 inputs that the
    engine takes as shape tensors.
    """

    shapes: Mapping[str, Shape]
    values: Mapping[str, Shape] = dataclasses.field(default_factory=dict)

    def key(self) -> tuple[tuple[tuple[str, Shape], ...], ...]:
        """Equal for calls that need the same engine."""
        return tuple(sorted(self.shapes.items())), tuple(sorted(self.values.items()))


def known_strategy(strategy: str) -> str:
    """The strategy's proper spelling. Raises InvalidArgumentError if it isn't one."""
    for name in PROFILE_STRATEGIES:
        if name.lower() == strategy.lower():
            return name
    raise InvalidArgumentError(
        f"dynamic_shape_profile_strategy={strategy!r} is not known: "
        f"use one of {', '.join(PROFILE_STRATEGIES)}"
    )


def dynamic_profiles(seen: Iterable[ObservedInputs], strategy: str) -> tuple[ShapeProfile, ...]:
    """The profiles of one engine for all that was seen.

    `Range`: one profile from the least to the greatest, tuned for the greatest. `Optimal`: one
    exact profile for each distinct call. `Range+Optimal`: the exact ones, then the range.
    `ImplicitBatchModeCompatible`: as `Optimal`, with batches from 1 up.

    Raises InvalidArgumentError on an unknown strategy, InputError if an input's rank changes.
    """
    name = known_strategy(strategy)
    calls = _distinct(seen)
    if not calls:
        return ()
    if name == "Range":
        return (_range_profile(calls),)
    if name == "Optimal":
        return tuple(map(_exact_profile, calls))
    if name == "ImplicitBatchModeCompatible":
        return tuple(map(_any_batch_profile, calls))
    return (*map(_exact_profile, calls), _range_profile(calls))


def static_profiles(seen: Iterable[ObservedInputs]) -> tuple[ShapeProfile, ...]:
    """One exact profile for each distinct call; static mode builds one engine from each."""
    return tuple(map(_exact_profile, _distinct(seen)))


def _distinct(seen: Iterable[ObservedInputs]) -> list[ObservedInputs]:
    return list({call.key(): call for call in seen}.values())


def _exact_profile(call: ObservedInputs) -> ShapeProfile:
    def exact(table: Mapping[str, Shape]) -> dict[str, ShapeRange]:
        return {name: ShapeRange(shape, shape, shape) for name, shape in table.items()}

    return ShapeProfile(exact(call.shapes), exact(call.values))


def _any_batch_profile(call: ObservedInputs) -> ShapeProfile:
    profile = _exact_profile(call)
    shapes = {
        name: dataclasses.replace(one, min=(min(1, one.max[0]), *one.min[1:])) if one.max else one
        for name, one in profile.shapes.items()
    }
    return dataclasses.replace(profile, shapes=shapes)


def _range_profile(calls: Sequence[ObservedInputs]) -> ShapeProfile:
    def ranges(tables: list[Mapping[str, Shape]]) -> dict[str, ShapeRange]:
        return {name: _span(name, [table[name] for table in tables]) for name in tables[0]}

    return ShapeProfile(
        ranges([call.shapes for call in calls]), ranges([call.values for call in calls])
    )


def _span(name: str, shapes: list[Shape]) -> ShapeRange:
    ranks = sorted({len(shape) for shape in shapes})
    if len(ranks) > 1:
        raise InputError(
            f"input {name!r} of an engine has rank {ranks[0]} in one batch and {ranks[-1]} in "
            "another: one engine takes one rank only, so convert a model for each"
        )
    greatest = tuple(map(max, zip(*shapes, strict=True)))
    return ShapeRange(tuple(map(min, zip(*shapes, strict=True))), greatest, greatest)
