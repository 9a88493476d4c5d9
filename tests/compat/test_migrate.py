import pytest
from stock_models import MODELS, assert_same, meta_graph_of, ops_of, run

from tftrt_toolkit import migrate, restore_native
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.params import ShapeRange, ToolkitOptions

SHAPES = {"x": ShapeRange((1, 4), (3, 4), (8, 4))}


@pytest.mark.parametrize("name", ["static", "dynamic", "unfrozen"])
def test_a_model_is_converted_anew(name, tmp_path, expected):
    converter = migrate(
        MODELS / name,
        tmp_path / "out",
        minimum_segment_size=2,
        options=ToolkitOptions(input_shapes=SHAPES),
    )
    # One engine where stock TF-TRT made two: it couldn't take the sum between them.
    assert len(converter.report()["segments"]) == 1
    assert "TRTEngineOp" in ops_of(meta_graph_of(tmp_path / "out"))
    assert_same(run(tmp_path / "out", expected["x"]), expected)


def test_the_toolkits_own_models_are_restored_too(tmp_path, expected):
    migrate(
        MODELS / "unfrozen",
        tmp_path / "new",
        minimum_segment_size=2,
        options=ToolkitOptions(input_shapes=SHAPES),
    )
    restored = restore_native(tmp_path / "new", tmp_path / "plain")
    assert restored.assets
    assert not {"TRTEngineOp", "CreateTRTResourceHandle"} & ops_of(
        meta_graph_of(tmp_path / "plain")
    )
    assert not (tmp_path / "plain" / "assets.extra" / "tftrt_report.json").exists()
    assert_same(run(tmp_path / "plain", expected["x"]), expected)


def test_a_model_without_native_segments_is_refused(tmp_path):
    with pytest.raises(ModelError, match="native segments removed"):
        migrate(MODELS / "without_native_segments", tmp_path / "out")
    assert not (tmp_path / "out").exists()
