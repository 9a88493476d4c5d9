from benchmarks import fp16_sensitivity
from benchmarks.fp16_sensitivity import Row


def test_a_row_a_network_and_a_column_a_method():
    rows = [
        Row("net", "FP32, inputs rounded to FP16", 0.011, 0.2),
        Row("net", "FP16", 0.021, 0.3),
        Row("other", "FP32, inputs rounded to FP16", 0.001, 0.002),
        Row("other", "FP16", 0.003, 0.004),
    ]
    assert fp16_sensitivity.render(rows).splitlines() == [
        "| model | FP32, inputs rounded to FP16 | FP16 |",
        "| :-- | --: | --: |",
        "| net | 1.1e-02 (2.0e-01) | 2.1e-02 (3.0e-01) |",
        "| other | 1.0e-03 (2.0e-03) | 3.0e-03 (4.0e-03) |",
    ]
