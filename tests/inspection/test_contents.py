import json
import shutil

import pytest

from tests.digits import MODEL
from tftrt_toolkit.errors import InvalidArgumentError, ModelError
from tftrt_toolkit.inspection import condensed_graphs, describe, draw, engine_assets, to_text
from tftrt_toolkit.saved_model import read_saved_model


def test_the_description_has_each_engine_and_its_plan(converted):
    found = describe(converted)
    report = json.loads((converted / "assets.extra" / "tftrt_report.json").read_text())
    assert found["engine_nodes"] == len(found["segments"]) == len(report["segments"]) > 1
    names = {segment["name"] for segment in report["segments"]}
    assert {segment["name"] for segment in found["segments"]} == names
    for segment in found["segments"]:
        assert segment["precision"] == "FP16"
        assert sum(segment["layers"].values()) > 0
        (plan,) = segment["plans"]
        assert plan["targets"] == ["8.9"]
        assert 0 < plan["bytes"] < segment["bytes"]
    assert found["signatures"]["serving_default"]["inputs"] == {
        "image": {"dtype": "float32", "shape": [None, 8, 8, 1]}
    }
    assert json.loads(json.dumps(found)) == found


def test_the_text_tells_plans_profiles_and_reasons(converted):
    text = to_text(describe(converted))
    assert "for 8.9: " in text
    assert "1x8x8x1 : 4x8x8x1 : 8x8x8x1" in text
    assert "MaxPool x2: MaxPool is among native_ops" in text
    assert "layers: " not in text
    assert "layers: " in to_text(describe(converted), detailed=True)


def test_a_damaged_asset_is_told_and_the_others_are_described(converted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(converted, copy)
    first = engine_assets(copy)[0]
    first.write_bytes(first.read_bytes()[:100])
    found = describe(copy)
    assert [bool(segment.get("error")) for segment in found["segments"]].count(True) == 1
    assert "runs natively: " in to_text(found)


def test_a_model_without_engines(tmp_path):
    found = describe(MODEL)
    assert found["segments"] == []
    assert "wasn't converted" in to_text(found)
    with pytest.raises(ModelError, match="no engines"):
        draw({}, tmp_path / "graph.svg")


def test_a_damaged_report_is_one_line(converted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(converted, copy)
    (copy / "assets.extra" / "tftrt_report.json").write_text("{")
    with pytest.raises(ModelError, match=r"tftrt_report\.json can't be read"):
        describe(copy)


def test_the_picture_shows_engines_and_native_parts(converted, tmp_path):
    pytest.importorskip("matplotlib")
    (meta_graph,) = read_saved_model(converted).meta_graphs
    graphs = condensed_graphs(meta_graph)
    (blocks,) = graphs.values()
    assert sum(block.kind == "engine" for block in blocks) == len(engine_assets(converted))
    native = [block for block in blocks if block.kind == "native"]
    assert sum(block.op_counts.get("MaxPool", 0) for block in native) == 2
    draw(graphs, tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text().count("<!-- TRTEngineOp_") == len(
        engine_assets(converted)
    )
    with pytest.raises(InvalidArgumentError, match=r"\.svg"):
        draw(graphs, tmp_path / "graph.docx")
