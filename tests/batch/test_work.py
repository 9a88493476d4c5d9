"""What a job is expected to take, what may run beside what, and what a death means."""

from pathlib import Path

import pytest

from tests.batch.jobs import job, record, work
from tftrt_toolkit.batch.work import died, expected_bytes, expected_seconds, fits, in_order

GIB = 2**30


def test_expectations_come_from_the_manifest_an_earlier_run_or_the_files(tmp_path):
    (tmp_path / "model" / "variables").mkdir(parents=True)
    (tmp_path / "model" / "saved_model.pb").write_bytes(bytes(200_000))
    (tmp_path / "model" / "variables" / "data").write_bytes(bytes(1_000_000))
    plain = job(tmp_path, "net")
    earlier = record("net", peak_rss_bytes=3 * GIB, seconds=7.0)
    assert expected_bytes(job(tmp_path, "net", memory_bytes=5), earlier) == 5
    assert 3 * GIB < expected_bytes(plain, earlier) < 4 * GIB
    assert 0.9e9 + 1_200_000 < expected_bytes(plain, None) < 1.1e9
    assert expected_bytes(plain, record("net", "failed")) == expected_bytes(plain, None)
    assert expected_seconds(plain, earlier) == 7.0
    assert expected_seconds(plain, None) == pytest.approx(2.0)


def test_the_longest_start_first(tmp_path):
    works = [work(tmp_path, str(seconds), seconds=seconds) for seconds in (1.0, 3.0, 2.0)]
    assert [one.seconds for one in in_order(works)] == [3.0, 2.0, 1.0]


def test_what_fits(tmp_path):
    small, large = (work(tmp_path, "net", memory_bytes=size * GIB) for size in (1, 3))
    assert fits(large, [], 2 * GIB)  # alone it may try
    assert fits(small, [large], 4 * GIB)
    assert not fits(small, [large], 4 * GIB - 1)
    assert fits(large, [large], None)


def test_a_death_is_final_unless_a_signal_came(tmp_path):
    log = Path("net.log")
    one = work(tmp_path, "net")
    assert died(one, -9, 1.0, log) is None
    found = died(one, 1, 1.0, log)
    assert found.final
    assert found.error == "its process ended with exit code 1: see net.log"
