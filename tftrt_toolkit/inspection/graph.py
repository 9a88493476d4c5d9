"""A converted graph with its native parts condensed: engines, and what lies between them."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

_BOOKKEEPING = frozenset(
    "Const Identity IdentityN NoOp ReadVariableOp VarHandleOp StopGradient Placeholder".split()
)
_NATIVE_SEGMENT = "_native_segment"


@dataclasses.dataclass(frozen=True)
class Block:
    """A box of the picture: an engine, or native nodes that hang together.

    kind: "engine" or "native". label: the engine's name, or the function's.
    op_counts: of the native nodes that compute. inputs: indices of the blocks that feed it.
    """

    kind: str
    label: str
    op_counts: Mapping[str, int]
    inputs: tuple[int, ...]


def condensed_graphs(meta_graph: Any) -> dict[str, list[Block]]:
    """Function name -> blocks in topological order, for each function that calls engines.

    The main graph (of TF1 models) is named "". Native nodes are in one block if they are connected
    and the longest path to each passes the same number of engines; so blocks never form a cycle.
    """
    graph_def = meta_graph.graph_def
    functions = {"": graph_def.node}
    functions |= {
        function.signature.name: function.node_def
        for function in graph_def.library.function
        if not function.signature.name.endswith(_NATIVE_SEGMENT)
    }
    return {
        name: _condense(nodes)
        for name, nodes in functions.items()
        if any(node.op == "TRTEngineOp" for node in nodes)
    }


def _condense(nodes: Iterable[Any]) -> list[Block]:
    by_name = {node.name: node for node in nodes}
    feeds = {
        name: [source for source in map(_node_of, node.input) if source in by_name]
        for name, node in by_name.items()
    }
    depths = _engine_depths(by_name, feeds)
    blocks_of = _components(by_name, feeds, depths)
    members: dict[str, list[str]] = defaultdict(list)
    for name, block in blocks_of.items():
        members[block].append(name)
    kept = {block for block, names in members.items() if _computes(by_name, names)}

    def rank(block: str) -> tuple[int, bool, bool, str]:
        """Puts a block behind all that feed it: an engine before the native nodes of its depth."""
        first = min(members[block])
        is_engine = by_name[first].op == "TRTEngineOp"
        return depths[first], not is_engine, bool(feeds[first]), first

    order = sorted(kept, key=rank)
    position = {block: index for index, block in enumerate(order)}
    result = []
    for block in order:
        sources = {blocks_of[source] for name in members[block] for source in feeds[name]}
        inputs = sorted(position[one] for one in sources & kept)
        # The back edges of TF1's loops are left out.
        earlier = tuple(index for index in inputs if index < position[block])
        result.append(_block([by_name[name] for name in members[block]], earlier))
    return result


def _block(nodes: list[Any], inputs: tuple[int, ...]) -> Block:
    if nodes[0].op == "TRTEngineOp":
        return Block("engine", nodes[0].name.rpartition("/")[2], {}, inputs)
    counts = Counter(node.op for node in nodes if node.op not in _BOOKKEEPING)
    return Block("native", f"{sum(counts.values())} native", dict(counts.most_common()), inputs)


def _computes(by_name: Mapping[str, Any], names: Iterable[str]) -> bool:
    return any(by_name[name].op not in _BOOKKEEPING for name in names)


def _node_of(reference: str) -> str:
    return reference.removeprefix("^").partition(":")[0]


def _engine_depths(by_name: Mapping[str, Any], feeds: Mapping[str, list[str]]) -> dict[str, int]:
    """Node -> engines on the longest path to it, itself included. Loops of TF1 are cut."""
    depths: dict[str, int] = {}
    open_nodes: set[str] = set()
    for start in by_name:
        stack = [start]
        while stack:
            name = stack[-1]
            waiting = (
                [] if name in open_nodes else [one for one in feeds[name] if one not in depths]
            )
            open_nodes.add(name)
            waiting = [one for one in waiting if one not in open_nodes]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            below = max((depths.get(source, 0) for source in feeds[name]), default=0)
            depths[name] = below + (by_name[name].op == "TRTEngineOp")
    return depths


def _components(
    by_name: Mapping[str, Any], feeds: Mapping[str, list[str]], depths: Mapping[str, int]
) -> dict[str, str]:
    """Node -> a node that stands for its block."""
    leader = {name: name for name in by_name}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for name, sources in feeds.items():
        for source in sources:
            native = "TRTEngineOp" not in (by_name[name].op, by_name[source].op)
            # Constants and weights have no inputs and feed many places: they mustn't tie these.
            if native and feeds[source] and depths[name] == depths[source]:
                leader[find(name)] = find(source)
    return {name: find(name) for name in by_name}
