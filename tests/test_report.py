import csv

from tftrt_toolkit import report
from tftrt_toolkit.artifacts import Merge
from tftrt_toolkit.summary import print_summary

ENTRY = {
    "name": "dense/TRTEngineOp_000_000",
    "op_counts": {"MatMul": 2, "Relu": 1},
    "inputs": [{"name": "x:0", "dtype": "float32", "shape": [None, 16]}],
    "outputs": [{"name": "y:0", "dtype": "float32", "shape": [None, 10]}],
    "islands": [
        {"node": "exp", "op": "Exp", "precision": "FP32", "reason": "it leaves FP16's range"},
        {"node": "exp_1", "op": "Exp", "precision": "FP32", "reason": "it leaves FP16's range"},
    ],
    "plan_islands": [
        {"node": "conv", "op": "Conv", "precision": "FP16", "reason": "no INT8 kernel"},
    ],
}
REPORT = {
    "segments": [ENTRY],
    "refused": [{"op": "Unique", "count": 2, "reason": "its output's shape depends on data"}],
    "dropped": [{"nodes": ["a", "b", "c", "d"], "reason": "too few nodes"}],
    "merges": ["supporting Unique would join 3 segments into 1"],
    "notes": ["no engine was built yet"],
    "converted_nodes": 3,
    "total_nodes": 5,
    "converted_node_fraction": 0.6,
}


def printed(detailed):
    lines = []
    print_summary(REPORT, 160, detailed, lines.append)
    return lines


def test_the_table_has_the_stock_columns_and_totals():
    lines = printed(detailed=False)
    assert lines[0].split("  ")[0] == "TRTEngineOP Name"
    assert lines[1] == "=" * 160
    assert "dense/TRTEngineOp_000_000" in lines[2]
    assert "[*] % of OPs Converted: 60.00% [3/5]\n" in lines
    assert all(len(line) <= 160 for line in lines if "TRTEngineOp" in line)


def test_every_reason_is_told():
    text = "\n".join(printed(detailed=True))
    assert "\t- MatMul: 2x" in text
    assert "[native] Unique x2: its output's shape depends on data" in text
    assert "[FP32] Exp x2: it leaves FP16's range" in text
    assert "[FP16] Conv x1: no INT8 kernel" in text
    assert "[dropped] a, b, c and 1 more: too few nodes" in text
    assert "[hint] supporting Unique would join 3 segments into 1" in text
    assert "[note] no engine was built yet" in text


def test_refusals_as_csv(tmp_path):
    path = tmp_path / "refused.csv"
    report.write_refusals(path, REPORT)
    assert list(csv.reader(path.open())) == [
        ["op", "count", "reason"],
        ["Unique", "2", "its output's shape depends on data"],
    ]


def test_merges_read_as_sentences():
    sentence = report.merge_sentence(Merge("Where", 7, 1))
    assert sentence == "supporting Where would join 7 segments into 1"


def test_constants_and_reads_do_not_count_as_computing():
    assert report.computes("Conv2D")
    assert not any(report.computes(op) for op in ("Const", "Identity", "ReadVariableOp"))
