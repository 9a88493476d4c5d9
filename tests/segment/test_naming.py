"""Stock names."""

import itertools

import pytest

from tftrt_toolkit.segment.naming import common_scope, engine_names, scoped


@pytest.mark.parametrize(
    ("names", "scope"),
    [
        ([], ""),
        (["a"], ""),
        (["net/a"], "net"),
        (["net/a", "net/b/c"], "net"),
        (["net/b/a", "net/b/c"], "net/b"),
        (["net/b/a", "nest/b/a"], ""),
        (["network/a", "net/a"], ""),
    ],
)
def test_common_scope(names, scope):
    assert common_scope(names) == scope


def test_names_of_nodes_that_exist_are_passed_over():
    names = engine_names(0, 0, ["x", "old/TRTEngineOp_000_001"])
    assert list(itertools.islice(names, 2)) == ["TRTEngineOp_000_000", "TRTEngineOp_000_002"]


def test_scoped():
    assert scoped("", "a") == "a"
    assert scoped("net", "a") == "net/a"
