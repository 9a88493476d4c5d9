"""How the time of support and segmenting grows with the graph, on synthetic graphs.

    python -m benchmarks.segment_scaling

A tenth of the nodes have no mapping, spread at random, so that thousands of clusters form: far more
tangled than any model. `reach` is how far back a node's inputs lie. The graphs are those that the
tests draw.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from absl import app, flags

from tests.synthetic import random_graph
from tftrt_toolkit.segment import SegmentRules, segment_graph
from tftrt_toolkit.support import SupportRules, support_map

RESULTS = Path(__file__).parent / "results" / "segment_scaling.json"

_NODES = flags.DEFINE_list("nodes", ["12500", "25000", "50000", "100000"], "Sizes of graphs.")
_REACH = flags.DEFINE_list("reach", ["20", "1000", "100000"], "How far back inputs lie, in nodes.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Runs of each; the medians are reported.")
_OUTPUT = flags.DEFINE_string("output", str(RESULTS), "Results as JSON.")


def measure(nodes: int, reach: int, rounds: int = 1, max_engines: int = 20) -> dict[str, Any]:
    """Median CPU seconds (one thread) of each stage, and how many segments came out."""
    graph = random_graph(nodes, reach=reach)
    support, segment = [], []
    for _ in range(rounds):
        start = time.process_time()
        refusals = support_map(graph, SupportRules())
        middle = time.process_time()
        found = segment_graph(graph, refusals, SegmentRules(max_engines=max_engines), 0)
        support.append(middle - start)
        segment.append(time.process_time() - middle)
    return {
        "nodes": len(graph.graph_def.node),
        "reach": reach,
        "support_s": round(statistics.median(support), 3),
        "segment_s": round(statistics.median(segment), 3),
        "segments": len(found.segments),
        "drops": len(found.drops),
    }


def main(_: Any) -> None:
    """Measure every size and reach, print a line each, and write the results."""
    print(f"{'nodes':>8} {'reach':>8} {'support s':>10} {'segment s':>10} {'segments':>9}")
    records = []
    for reach in map(int, _REACH.value):
        for nodes in map(int, _NODES.value):
            record = measure(nodes, reach, _ROUNDS.value)
            records.append(record)
            print(
                f"{record['nodes']:>8} {reach:>8} {record['support_s']:>10.2f} "
                f"{record['segment_s']:>10.2f} {record['segments']:>9}",
                flush=True,
            )
    path = Path(_OUTPUT.value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
