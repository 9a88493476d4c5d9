"""Profiles from observed shapes, strategy by strategy."""

import pytest

from tftrt_toolkit.artifacts import Observation, ShapeProfile, ShapeRange
from tftrt_toolkit.errors import InputError, InvalidArgumentError
from tftrt_toolkit.params import resolve_strategy
from tftrt_toolkit.profiles import dynamic_profiles, explicit_profile, static_profiles

SMALL = Observation({"x": (2, 9), "s": (1,)}, {"s": (5,)})
LARGE = Observation({"x": (8, 3), "s": (1,)}, {"s": (7,)})
ONE = ((1,), (1,), (1,))


def profile(shapes, value):
    return ShapeProfile(
        {"x": ShapeRange(*shapes), "s": ShapeRange(*ONE)},
        {"s": ShapeRange(*((one,) for one in value))},
    )


EXACT = (profile([(2, 9)] * 3, [5, 5, 5]), profile([(8, 3)] * 3, [7, 7, 7]))
WHOLE = profile([(2, 3), (8, 9), (8, 9)], [5, 7, 7])


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("Range", (WHOLE,)),
        ("range", (WHOLE,)),
        ("OPTIMAL", EXACT),
        ("Range+Optimal", (*EXACT, WHOLE)),
        (
            "ImplicitBatchModeCompatible",
            (
                profile([(1, 9), (2, 9), (2, 9)], [5, 5, 5]),
                profile([(1, 3), (8, 3), (8, 3)], [7, 7, 7]),
            ),
        ),
    ],
)
def test_strategies(strategy, expected):
    assert dynamic_profiles([SMALL, LARGE, SMALL], strategy) == expected


def test_static_mode_takes_each_distinct_shape_once():
    assert static_profiles(iter([SMALL, LARGE, SMALL])) == EXACT


def test_nothing_seen():
    assert dynamic_profiles([], "Range") == ()
    assert static_profiles([]) == ()


def test_scalars_and_empty_batches():
    seen = [Observation({"x": (), "e": (0, 4)})]
    (one,) = dynamic_profiles(seen, "ImplicitBatchModeCompatible")
    assert one.shapes["x"] == ShapeRange((), (), ())
    assert one.shapes["e"] == ShapeRange((0, 4), (0, 4), (0, 4))


def test_ranks_that_change():
    with pytest.raises(InputError, match="rank 1 in one batch and 2 in another"):
        dynamic_profiles([Observation({"x": (1,)}), Observation({"x": (1, 2)})], "Range")


def test_unknown_strategy():
    assert resolve_strategy("optimal") == "Optimal"
    with pytest.raises(InvalidArgumentError, match="use one of Range, Optimal"):
        resolve_strategy("Best")


def test_explicit_shapes_keep_their_own_optimum():
    best = Observation({"x": (4, 5), "s": (1,)}, {"s": (6,)})
    small = Observation({"x": (2, 3), "s": (1,)}, {"s": (5,)})
    large = Observation({"x": (8, 9), "s": (1,)}, {"s": (7,)})
    expected = profile([(2, 3), (4, 5), (8, 9)], [5, 6, 7])
    assert explicit_profile(small, best, large) == expected
