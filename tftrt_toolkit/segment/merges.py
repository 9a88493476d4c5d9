"""What making an op convertible would gain: "supporting Where would join 7 segments into 1"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tftrt_toolkit.artifacts import Merge
from tftrt_toolkit.segment.cluster import cluster
from tftrt_toolkit.segment.dag import contract, without_idle
from tftrt_toolkit.segment.plan import Clustering

MOST_OPS = 10
EFFORT = 10  # an estimate may cost less than the real thing
# Nodes that stay native for these reasons would do so whatever the registry knew.
_UNMENDABLE = frozenset({"argument", "denylist", "native op", "native node", "no output"})


def estimate_merges(plan: Clustering, engines: Sequence[int]) -> tuple[Merge, ...]:
    """For each refused op that parts segments: how many would become how many; best first.

    engines: the clusters that are segments. At most MOST_OPS ops are tried, those with the most
    nodes between segments; each costs a walk over the graph with its clusters contracted.
    """
    kept = set(engines)
    groups = [label if label in kept else -2 - v for v, label in enumerate(plan.labels)]
    whole, member = contract(plan.dag, groups)
    segment_of: dict[int, int] = {}
    ops: dict[int, str] = {}
    for vertex, group in enumerate(member):
        name = plan.names[vertex]
        if plan.labels[vertex] in kept:
            segment_of[group] = plan.labels[vertex]
        elif name not in plan.refusals:
            ops[group] = ""  # convertible, but too small or too many
        elif plan.refusals[name].rule not in _UNMENDABLE:
            ops[group] = plan.nodes[name].op
    small, original = without_idle(whole, [group in segment_of for group in range(len(whole))])
    counts = Counter(op for group in original if (op := ops.get(group)))
    merges = []
    for op, _ in counts.most_common(MOST_OPS):
        convertible = [g in segment_of or ops.get(g) in ("", op) for g in original]
        joined = Counter(
            label
            for label, group in zip(cluster(small, convertible, EFFORT), original, strict=True)
            if group in segment_of
        )
        gained = [count for count in joined.values() if count > 1]
        if gained:
            merges.append(Merge(op, sum(gained), len(gained)))
    return tuple(sorted(merges, key=lambda merge: (merge.after - merge.before, merge.op)))
