"""Segment names, as stock TF-TRT gave them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def common_scope(names: Iterable[str]) -> str:
    """The longest name scope that holds all of `names`: `a/b` for `a/b/x` and `a/b/c/y`."""
    scopes = [name.split("/")[:-1] for name in names]
    if not scopes:
        return ""
    low, high = min(scopes), max(scopes)
    shared = 0
    while shared < min(len(low), len(high)) and low[shared] == high[shared]:
        shared += 1
    return "/".join(low[:shared])


def engine_names(graph_index: int, first_index: int, taken: Iterable[str]) -> Iterator[str]:
    """`TRTEngineOp_003_000`, `TRTEngineOp_003_001`, ... without those that `taken` nodes bear."""
    used = {name.rpartition("/")[2] for name in taken if "TRTEngineOp_" in name}
    index = first_index
    while True:
        name = f"TRTEngineOp_{graph_index:03d}_{index:03d}"
        if name not in used:
            yield name
        index += 1


def scoped(scope: str, name: str) -> str:
    """`scope/name`, or `name` at the top."""
    return f"{scope}/{name}" if scope else name
