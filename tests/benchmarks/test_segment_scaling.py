from benchmarks.segment_scaling import measure


def test_measure_reports_sizes_times_and_segments():
    record = measure(500, reach=20, max_engines=3)
    assert record["nodes"] >= 500
    assert record["segments"] == 3
    assert record["drops"] > 0
    assert record["support_s"] > 0
    assert record["segment_s"] > 0
