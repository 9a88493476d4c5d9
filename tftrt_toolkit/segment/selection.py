"""Which clusters become engines, and why the others don't."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tftrt_toolkit.artifacts import Drop
from tftrt_toolkit.segment.cycles import MOST_EXPLAINED, CycleFinder
from tftrt_toolkit.segment.plan import Clustering
from tftrt_toolkit.segment.rules import SegmentRules


@dataclasses.dataclass(frozen=True)
class Selection:
    """chosen: clusters that become engines, in topological order. drops: the rest."""

    chosen: tuple[int, ...]
    drops: tuple[Drop, ...]


def select(
    plan: Clustering, members: Sequence[Sequence[str]], rules: SegmentRules, cycles: CycleFinder
) -> Selection:
    """Apply the size and engine limits."""
    drops = []
    if plan.unused:
        drops.append(Drop(plan.graph.name, plan.unused, "unused", "nothing takes their outputs"))
    sizes = [plan.size(nodes) for nodes in members]
    # What computes nothing is no loss, and what depends on shapes only goes where it is used.
    computing = [index for index, size in enumerate(sizes) if size[0] > 0]
    large = [index for index in computing if rules.fits(*sizes[index])]
    small = [index for index in computing if not rules.fits(*sizes[index])]
    fitting = [index for index in large if rules.takes_all or plan.has_floats(members[index])]
    for count, index in enumerate(small):
        reason = "{} computing nodes and {} constants are too few for minimum_segment_size={}"
        reason = reason.format(*sizes[index], rules.minimum_segment_size)
        cycle = cycles.beside(index) if count < MOST_EXPLAINED else None
        if cycle is not None:
            reason += f"; joining a neighbour {cycle}"
        drops.append(_drop(plan, members[index], "cycle" if cycle else "size", reason))
    for index in sorted(set(large) - set(fitting)):
        reason = "no floating-point data is computed here, so an engine would gain nothing"
        drops.append(_drop(plan, members[index], "no floats", reason))
    largest = sorted(fitting, key=lambda index: -sum(sizes[index]))
    limit = rules.max_engines if rules.max_engines > 0 else len(fitting)
    for index in sorted(largest[limit:]):
        reason = (
            f"{len(fitting)} segments, and at most {limit} engines are allowed: "
            "the largest become engines"
        )
        drops.append(_drop(plan, members[index], "engine limit", reason))
    return Selection(tuple(sorted(largest[:limit])), tuple(drops))


def _drop(plan: Clustering, nodes: Sequence[str], rule: str, reason: str) -> Drop:
    kept = tuple(name for name in nodes if not plan.is_copied(name))
    return Drop(plan.graph.name, kept, rule, reason)
