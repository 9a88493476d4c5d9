"""Every case through the chain: none may be wrong, and none that converted may stay native."""

from pathlib import Path

import pytest

from tests.op_matrix.chain import CASES, run_case
from tftrt_toolkit.export import HANDLED_OPS, REFUSED_OPS

GOLDEN = Path(__file__).parent / "converts.txt"
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


def converting() -> set[str]:
    lines = GOLDEN.read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    outcome = run_case(CASES[name])
    assert outcome.status != "wrong", outcome.reason
    if name in converting():
        assert outcome.status == "converts", f"{name} used to convert: {outcome.reason}"
    else:
        assert outcome.status == "native", f"{name} converts now: add it to {GOLDEN.name}"


def test_matrix_is_large_and_mostly_converts():
    assert len(CASES) >= 200
    assert set(SILENTLY_WRONG) <= CASES.keys()
    share = len(converting()) / len(CASES)
    assert GOLDEN.read_text().startswith(f"# {len(converting())} of {len(CASES)} cases")
    assert share > 0.9


def test_no_op_is_both_mapped_and_refused():
    assert not HANDLED_OPS & REFUSED_OPS
