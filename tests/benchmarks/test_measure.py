"""The figures in the README rest on these: time, peak memory, and the cap."""

import sys

import pytest

from benchmarks import measure


def python(code):
    return [sys.executable, "-S", "-c", code]


def test_peak_memory_is_that_of_the_command(tmp_path):
    ballast = bytearray(300 * 2**20)  # must not count
    small = measure.run(python("print('small')"), tmp_path / "small.log")
    large = measure.run(python("b = bytearray(200 * 2**20)"), tmp_path / "large.log")
    assert len(ballast) > small.peak_rss_bytes
    assert small.peak_rss_bytes < 40 * 2**20
    assert 200 * 2**20 < large.peak_rss_bytes < 260 * 2**20
    assert (tmp_path / "small.log").read_text() == "small\n"


def test_time_and_return_code(tmp_path):
    found = measure.run(python("import sys, time; time.sleep(0.3); sys.exit(3)"), tmp_path / "log")
    assert found.returncode == 3
    assert 0.3 <= found.seconds < 3
    assert not found.killed


@pytest.mark.parametrize(
    ("code", "limits", "why"),
    [
        ("b = bytearray(400 * 2**20); sleep(60)", {"memory_limit": 2**28}, "memory"),
        ("sleep(60)", {"timeout": 0.2}, "time"),
    ],
)
def test_runaway_commands_are_killed(tmp_path, code, limits, why):
    found = measure.run(python(f"from time import sleep; {code}"), tmp_path / "log", **limits)
    assert found.killed == why
    assert found.returncode == -9
    assert found.seconds < 20
