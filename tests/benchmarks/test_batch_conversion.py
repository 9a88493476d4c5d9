import json
import os
import subprocess
import sys

from benchmarks.batch_conversion import BLOCK, ROOT, render, session
from benchmarks.tables import read_block
from tftrt_toolkit.artifacts import ShapeRange


def test_shapes_are_written_as_flags_read_them():
    from benchmarks.batch_conversion import _written
    from tftrt_toolkit.shape_ranges import parse_shapes

    shapes = {"a": ShapeRange((1, 2), (4, 2), (8, 2)), "b": ShapeRange((), (), ())}
    assert parse_shapes(_written(shapes).split(",")) == shapes


def test_session_finds_children():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True
    )
    while len(session(process.pid)) < 2:
        assert process.poll() is None
    assert os.getpid() not in session(process.pid)
    process.communicate(b"\n")


def test_the_documented_table_is_that_of_the_results():
    results = json.loads((ROOT / "benchmarks/results/batch_conversion.json").read_text())
    assert read_block((ROOT / "docs" / "use.md").read_text(), BLOCK) == render(results)
    assert len(results["models"]) == 10
    peaks = results["runs"]["batch"]["peak_bytes"]
    assert max(peaks) <= results["memory_limit_bytes"]


def test_render_gives_the_ratio_of_medians():
    runs = {
        "one after the other": {"seconds": [100.0, 120.0], "peak_bytes": [2**30, 2**31]},
        "batch": {"seconds": [55.0, 55.0], "peak_bytes": [2**31, 3 * 2**30]},
    }
    text = render({"models": ["a", "b"], "runs": runs, "cores": 2, "memory_limit_bytes": 5 * 2**30})
    assert "Ratio 0.50 on 2 cores, with a limit of 5 GiB" in text
    assert "| batch | 55 | 3.00 |" in text
