"""Names inside a GraphDef, and the walks over it that several stages need."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from tftrt_toolkit.errors import InternalError


def is_control(name: str) -> bool:
    """Whether an input is a control input (`^node`)."""
    return name.startswith("^")


def node_of(name: str) -> str:
    """The node that an input comes from: `scope/a` for `scope/a`, `scope/a:1` and `^scope/a`."""
    return name.removeprefix("^").partition(":")[0]


def tensor_of(name: str) -> str:
    """The tensor's full name: `a:0` for `a`. Control inputs have none."""
    if is_control(name):
        raise InternalError(f"control input {name!r} names no tensor")
    return name if ":" in name else f"{name}:0"


def data_inputs(node: Any) -> Iterator[str]:
    """Full names of the tensors that a NodeDef takes, in order."""
    return (tensor_of(name) for name in node.input if not is_control(name))


def control_inputs(node: Any) -> Iterator[str]:
    """Nodes that must run before a NodeDef."""
    return (node_of(name) for name in node.input if is_control(name))


def origin_of(name: str, known: Container[str]) -> str | None:
    """The node among `known` that an ONNX node, named after it with suffixes, came from."""
    while name and name not in known:
        name = name.rpartition("_")[0]
    return name or None


def sources_of(node: Any) -> Iterator[str]:
    """Nodes that must stand before a NodeDef. NextIteration has none: it closes a TF1 loop."""
    return (node_of(name) for name in node.input if node.op != "NextIteration")


def topological(nodes: Iterable[Any]) -> list[Any]:
    """NodeDefs sorted so that each stands behind its inputs; the given order breaks ties.

    Inputs from outside of `nodes` are ignored. Raises InternalError on a cycle; loops of TF1 are
    none (see `sources_of`).
    """
    by_name = {node.name: node for node in nodes}
    waiting: dict[str, int] = {}
    consumers: dict[str, list[str]] = {name: [] for name in by_name}
    for node in by_name.values():
        sources = set(sources_of(node)) & by_name.keys()
        waiting[node.name] = len(sources)
        for source in sources:
            consumers[source].append(node.name)
    ready = [name for name, count in waiting.items() if count == 0]
    order = []
    for name in ready:  # grows while it is walked
        order.append(by_name[name])
        for consumer in consumers[name]:
            waiting[consumer] -= 1
            if waiting[consumer] == 0:
                ready.append(consumer)
    if len(order) != len(by_name):
        stuck = sorted(name for name, count in waiting.items() if count)
        raise InternalError(f"the graph has a cycle through {', '.join(stuck[:3])}")
    return order
