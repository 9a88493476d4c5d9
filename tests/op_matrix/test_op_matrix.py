"""Every case through the chain: none may be wrong, and none that converted may stay native."""

import functools

import pytest

from tests.op_matrix.chain import CASES, Outcome, run_case
from tests.op_matrix.golden import GOLDEN, golden_text
from tftrt_toolkit.export import HANDLED_OPS, REFUSED_OPS

# One op or option each, which tf2onnx maps to something else without a word.
SILENTLY_WRONG = (
    "image.adjust_saturation",
    "image.resize_area",
    "int.floordiv",
    "int.floormod",
    "math.truncatediv",
    "one_hot.negative",
    "scatter.nd_duplicates",
    "segment.max_gap",
    "segment.mean_gap",
    "segment.sparse_mean_gap",
    "segment.sparse_sqrt_n_gap",
)


@functools.cache
def outcome(name: str) -> Outcome:
    return run_case(CASES[name])


def golden() -> dict[str, set[str]]:
    """ "converts" and "mapped" -> names."""
    found: dict[str, set[str]] = {"converts": set(), "mapped": set()}
    for line in GOLDEN.read_text().splitlines():
        if line and not line.startswith("#"):
            kind, name = line.split()
            found[kind].add(name)
    return found


RECORDED = golden()


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    found = outcome(name)
    assert not found.wrong, found.wrong
    if name in RECORDED["converts"]:
        assert found.converts, f"{name} used to convert: {found.reason}"
    if name in RECORDED["converts"] | RECORDED["mapped"]:
        assert found.mapped, f"{name} used to have a right ONNX form: {found.reason}"


def test_golden_is_current():
    """What converts newly is recorded, so that it can't be lost again."""
    outcomes = {name: outcome(name) for name in CASES}
    assert GOLDEN.read_text() == golden_text(outcomes), "run python -m tests.op_matrix"


def test_matrix_is_large_and_mostly_converts():
    assert len(CASES) >= 200
    assert set(SILENTLY_WRONG) <= CASES.keys()
    assert len(RECORDED["converts"]) > 0.75 * len(CASES)


def test_no_op_is_both_mapped_and_refused():
    assert not HANDLED_OPS & REFUSED_OPS
