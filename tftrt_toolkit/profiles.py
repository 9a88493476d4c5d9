"""Optimization profiles from the input shapes that were seen, as the stock strategies do it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from tftrt_toolkit.artifacts import Observation, ShapeProfile, ShapeRange
from tftrt_toolkit.errors import InputError
from tftrt_toolkit.params import resolve_strategy

Shape = tuple[int, ...]


def dynamic_profiles(seen: Iterable[Observation], strategy: str) -> tuple[ShapeProfile, ...]:
    """The profiles of one engine for all that was seen.

    `Range`: one profile from the least to the greatest, tuned for the greatest. `Optimal`: one
    exact profile for each distinct call. `Range+Optimal`: the exact ones, then the range.
    `ImplicitBatchModeCompatible`: as `Optimal`, with batches from 1 up.

    Raises InvalidArgumentError on an unknown strategy, InputError if an input's rank changes.
    """
    name = resolve_strategy(strategy)
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


def static_profiles(seen: Iterable[Observation]) -> tuple[ShapeProfile, ...]:
    """One exact profile for each distinct call; static mode builds one engine from each."""
    return tuple(map(_exact_profile, _distinct(seen)))


def explicit_profile(low: Observation, best: Observation, high: Observation) -> ShapeProfile:
    """One profile whose min, opt and max are three observations'."""

    def ranges(kind: str) -> dict[str, ShapeRange]:
        tables = [getattr(one, kind) for one in (low, best, high)]
        return {name: ShapeRange(*(table[name] for table in tables)) for name in tables[0]}

    return ShapeProfile(ranges("shapes"), ranges("values"))


def _key(call: Observation) -> tuple[tuple[tuple[str, Shape], ...], ...]:
    """Equal for calls that need the same engine."""
    return tuple(sorted(call.shapes.items())), tuple(sorted(call.values.items()))


def _distinct(seen: Iterable[Observation]) -> list[Observation]:
    return list({_key(call): call for call in seen}.values())


def _exact_profile(call: Observation) -> ShapeProfile:
    def exact(table: Mapping[str, Shape]) -> dict[str, ShapeRange]:
        return {name: ShapeRange(shape, shape, shape) for name, shape in table.items()}

    return ShapeProfile(exact(call.shapes), exact(call.values))


def _any_batch_profile(call: Observation) -> ShapeProfile:
    profile = _exact_profile(call)
    shapes = {
        name: dataclasses.replace(one, min=(min(1, one.max[0]), *one.min[1:])) if one.max else one
        for name, one in profile.shapes.items()
    }
    return dataclasses.replace(profile, shapes=shapes)


def _range_profile(calls: Sequence[Observation]) -> ShapeProfile:
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
