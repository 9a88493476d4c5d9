"""What crosses the segments' boundaries, once it is known which node runs where.

What depends on constants and shapes only is copied into every segment that takes it, so TensorRT
sees `Shape -> ... -> Reshape` whole:

    before   {conv -> Shape -> Pack}  -pack->  {Reshape}      an engine with a shape as its input
    after    {conv}                   -conv->  {Shape -> Pack -> Reshape}

Native nodes keep a copy of their own, unless a shape is that of a tensor inside one segment: then
the segment yields the shape, so that the tensor needn't leave it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from tftrt_toolkit.graph import control_inputs, data_inputs, is_control, node_of, tensor_of
from tftrt_toolkit.segment.plan import Clustering
from tftrt_toolkit.values import ValueKind

_OUTSIDE = -1


@dataclasses.dataclass
class Boundary:
    """One segment: its nodes, copies included, and the tensors that cross."""

    nodes: set[str]
    inputs: set[str] = dataclasses.field(default_factory=set)
    outputs: set[str] = dataclasses.field(default_factory=set)


def find_boundaries(plan: Clustering, segments: Sequence[Sequence[str]]) -> list[Boundary]:
    """A boundary for each list of members; what isn't a member of any runs natively."""
    return _Boundaries(plan, segments).find()


class _Boundaries:
    def __init__(self, plan: Clustering, segments: Sequence[Sequence[str]]) -> None:
        self._plan = plan
        self._owner = {
            name: index
            for index, members in enumerate(segments)
            for name in members
            if not plan.is_copied(name)
        }
        self._found = [Boundary(set()) for _ in segments]
        for name, index in self._owner.items():
            self._found[index].nodes.add(name)
        self._home = self._homes()
        self._demanded: set[str] = set()

    def find(self) -> list[Boundary]:
        nodes = self._plan.nodes
        for name, index in self._owner.items():
            self._take(index, data_inputs(nodes[name]))
        for name, node in nodes.items():
            if name not in self._owner and not self._plan.is_copied(name):
                self._demand(node.input)
        self._demand(self._plan.graph.results)
        return self._found

    def _homes(self) -> Mapping[str, int]:
        """What depends on shapes -> the one segment that owns all of their tensors, or none."""
        homes: dict[str, int] = {}
        for name, node in self._plan.nodes.items():
            if self._plan.kinds[name] not in (ValueKind.SHAPE, ValueKind.FILLED):
                continue
            sources = (node_of(tensor) for tensor in data_inputs(node))
            found = {
                homes[source] if source in homes else self._owner.get(source, _OUTSIDE)
                for source in sources
                if self._plan.kinds[source] is not ValueKind.CONSTANT
            }
            homes[name] = found.pop() if len(found) == 1 else _OUTSIDE
        return homes

    def _take(self, index: int, tensors: Iterable[str]) -> None:
        """Let the segment `index` see `tensors`: as copies, or as inputs."""
        boundary, waiting = self._found[index], list(tensors)
        while waiting:
            tensor = waiting.pop()
            name = node_of(tensor)
            if name in boundary.nodes:
                continue
            if self._plan.is_copied(name):
                boundary.nodes.add(name)
                waiting.extend(data_inputs(self._plan.nodes[name]))
            else:
                boundary.inputs.add(tensor)
                self._demand([tensor])

    def _demand(self, inputs: Sequence[str]) -> None:
        """Make what native nodes take available outside of the segments that compute it."""
        waiting = list(inputs)
        while waiting:
            wanted = waiting.pop()
            if wanted in self._demanded:
                continue
            self._demanded.add(wanted)
            name = node_of(wanted)
            if is_control(wanted):
                if self._plan.is_copied(name):
                    waiting.extend(self._plan.nodes[name].input)
            elif name in self._owner:
                self._found[self._owner[name]].outputs.add(tensor_of(wanted))
            elif self._home.get(name, _OUTSIDE) != _OUTSIDE:
                home = self._home[name]
                self._take(home, [wanted])
                self._found[home].outputs.add(tensor_of(wanted))
            elif self._plan.is_copied(name):
                waiting.extend(self._plan.nodes[name].input)


def controls_of(plan: Clustering, nodes: set[str]) -> set[str]:
    """Nodes outside of `nodes` that must run before them.

    A copied node has no effect of its own, so what counts is what it waits for.
    """
    found: set[str] = set()
    seen = set(nodes)
    waiting = list(nodes)
    while waiting:
        for name in control_inputs(plan.nodes[waiting.pop()]):
            if name in seen:
                continue
            seen.add(name)
            if plan.is_copied(name):
                waiting.append(name)
            else:
                found.add(name)
    return found
