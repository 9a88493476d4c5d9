"""Checks that several families share; each is made for one input, attribute or output."""

from __future__ import annotations

from collections.abc import Callable

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.registry import Check
from tftrt_toolkit.support.view import NodeView
from tftrt_toolkit.values import ValueKind


def _documented(text: str) -> Callable[[Check], Check]:
    def document(check: Check) -> Check:
        check.__doc__ = text
        return check

    return document


def constant_input(index: int, what: str) -> Check:
    """The input `index` must be a constant that conversion can read."""

    @_documented(f"{what} is a constant")
    def check(node: NodeView) -> Refusal | None:
        if index >= len(node.inputs) or node.constant(index) is not None:
            return None
        return Refusal("not constant", f"{what} is not a constant")

    return check


def shape_input(index: int, what: str) -> Check:
    """The input `index` must follow from constants and shapes alone, as TensorRT asks."""

    @_documented(f"{what} depends on shapes and constants only")
    def check(node: NodeView) -> Refusal | None:
        if node.kind(index) <= ValueKind.SHAPE:
            return None
        return Refusal("data-dependent shape", f"output shape depends on data: {what} is computed")

    return check


def one_of(attribute: str, *allowed: object) -> Check:
    """An attribute must have one of these values."""
    listed = " or ".join(str(value) for value in allowed)

    @_documented(f"{attribute} is {listed}")
    def check(node: NodeView) -> Refusal | None:
        value = node.attr(attribute)
        if value in allowed:
            return None
        return Refusal("attribute", f"{attribute}={value} doesn't convert, only {listed}")

    return check


def rank_of(index: int, what: str, *ranks: int) -> Check:
    """The input `index` must have one of these ranks."""
    listed = " or ".join(str(rank) for rank in ranks)

    @_documented(f"{what} has rank {listed}")
    def check(node: NodeView) -> Refusal | None:
        rank = node.rank(index)
        if rank in ranks:
            return None
        return Refusal("rank", f"{what} has rank {rank}, conversion needs {listed}")

    return check


def unused_outputs(first: int, what: str) -> Check:
    """No output from `first` on may be taken by anything."""

    @_documented(f"{what} go unused")
    def check(node: NodeView) -> Refusal | None:
        for index in range(first, len(node.outputs)):
            if node.is_used(index):
                return Refusal("output", f"{what} are used, and engines don't yield them")
        return None

    return check
