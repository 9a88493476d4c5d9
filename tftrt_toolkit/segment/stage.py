"""The stage: from refusals to segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tftrt_toolkit.artifacts import (
    Drop,
    FrozenGraph,
    Refusal,
    Segment,
    Segmentation,
    TensorSpec,
)
from tftrt_toolkit.segment.boundary import Boundary, controls_of, find_boundaries
from tftrt_toolkit.segment.cycles import CycleFinder, split_notes
from tftrt_toolkit.segment.merges import estimate_merges
from tftrt_toolkit.segment.naming import common_scope, engine_names, scoped
from tftrt_toolkit.segment.plan import Clustering, cluster_graph
from tftrt_toolkit.segment.rules import SegmentRules
from tftrt_toolkit.segment.selection import select
from tftrt_toolkit.segment.verify import verify_segmentation


def segment_graph(
    graph: FrozenGraph,
    refusals: Mapping[str, Refusal],
    rules: SegmentRules,
    graph_index: int,
    first_index: int = 0,
) -> Segmentation:
    """Group the nodes of `graph` that aren't refused into segments. Near-linear in the graph.

    graph_index, first_index: the numbers in the names `TRTEngineOp_<graph>_<segment>`.
    Raises InternalError if the result breaks the artifacts' rules.
    """
    plan = cluster_graph(graph, refusals)
    members = plan.members()
    if rules.minimum_segment_size == -1 and not graph.marked:
        return Segmentation((), refusals, _unmarked(plan), ())
    cycles = CycleFinder(plan)
    selection = select(plan, members, rules, cycles)
    boundaries = find_boundaries(plan, [members[index] for index in selection.chosen])
    numbers = engine_names(graph_index, first_index, plan.nodes)
    segments, names = [], {}
    for index, boundary in zip(selection.chosen, boundaries, strict=True):
        names[index] = next(numbers)
        scope = common_scope(name for name in boundary.nodes if plan.computes(name))
        segments.append(_segment(plan, boundary, scoped(scope, names[index])))
    segmentation = Segmentation(
        segments=tuple(segments),
        refusals=refusals,
        drops=(*selection.drops, *split_notes(cycles, graph.name, names)),
        merges=estimate_merges(plan, selection.chosen),
    )
    verify_segmentation(graph, segmentation)
    return segmentation


def _segment(plan: Clustering, boundary: Boundary, name: str) -> Segment:
    graph = plan.graph
    nodes = tuple(sorted(boundary.nodes, key=plan.position.__getitem__))
    ops = Counter(plan.nodes[node].op for node in nodes if not plan.is_constant(node))
    return Segment(
        name=name,
        graph=graph.name,
        nodes=nodes,
        inputs=_specs(plan, boundary.inputs),
        outputs=_specs(plan, boundary.outputs),
        weights=tuple(node for node in nodes if node in graph.weights),
        control_inputs=tuple(sorted(controls_of(plan, boundary.nodes))),
        op_counts=dict(sorted(ops.items())),
        copies=tuple(node for node in nodes if plan.is_copied(node)),
    )


def _specs(plan: Clustering, tensors: set[str]) -> tuple[TensorSpec, ...]:
    """In the graph's order, so that the same graph gives the same segment."""

    def position(tensor: str) -> tuple[int, int]:
        node, _, index = tensor.partition(":")
        return plan.position[node], int(index)

    return tuple(plan.graph.tensors[tensor] for tensor in sorted(tensors, key=position))


def _unmarked(plan: Clustering) -> tuple[Drop, ...]:
    nodes = tuple(name for members in plan.members() for name in members)
    if not nodes:
        return ()
    reason = "minimum_segment_size=-1 converts functions marked _tftrt_convert_function only"
    return (Drop(plan.graph.name, nodes, "not marked", reason),)
