"""The summary of runs, and the README's table of them."""

import json
from pathlib import Path

import pytest

from benchmarks import conversion_cost, tables

README = Path(__file__).parents[2] / "README.md"


def run(model, tool, seconds, gigabytes, killed=""):
    return {
        "model": model,
        "tool": tool,
        "seconds": seconds,
        "peak_rss_bytes": gigabytes * 1e9,
        "returncode": -9 if killed else 0,
        "killed": killed,
    }


RESULTS = {
    "environment": {
        "tf2onnx": "1.17.0",
        "tensorrt_rtx_cu12": "1.7",
        "tensorflow": "2.21.0",
        "cores": 2,
        "cpu": "CPU",
    },
    "rounds": 3,
    "memory_limit_bytes": 20_000_000_000,
    "runs": [
        *(run("small", "tf2onnx", seconds, 8) for seconds in (30, 90, 33)),
        *(run("small", "tftrt_toolkit", seconds, 2) for seconds in (11, 10, 12)),
        run("large", "tf2onnx", 60.4, 20, killed="memory"),
        *(run("large", "tftrt_toolkit", seconds, 4) for seconds in (20, 21, 22)),
    ],
}


def test_summary_takes_medians():
    small = conversion_cost.summarize(RESULTS["runs"])["small"]
    assert small["tf2onnx"].seconds == 33
    assert small["tftrt_toolkit"].peak_rss_bytes == 2_000_000_000


def test_table_shows_ratios_and_kills():
    lines = conversion_cost.render(RESULTS).splitlines()
    assert lines[2] == "| small | 33.0 | 8.00 | 11.0 | 2.00 | 3.0x | 4.0x |"
    assert lines[3] == "| large | > 60 | killed at 20 | 21.0 | 4.00 |  |  |"


@pytest.mark.skipif(not conversion_cost.RESULTS.exists(), reason="nothing measured yet")
def test_readme_shows_the_recorded_results():
    results = json.loads(conversion_cost.RESULTS.read_text())
    shown = tables.read_block(README.read_text(), conversion_cost.BLOCK)
    assert shown == conversion_cost.render(results), (
        "the README is stale: python -m benchmarks.conversion_cost --render_only --readme=README.md"
    )
