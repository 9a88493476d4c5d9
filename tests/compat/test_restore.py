import filecmp

import pytest
import tensorflow as tf
from stock_models import (
    MODELS,
    RESTORABLE,
    WITH_ASSETS,
    assert_same,
    meta_graph_of,
    ops_of,
    run,
    run_in_session,
)

from tftrt_toolkit.compat import restore_native
from tftrt_toolkit.compat.engine_nodes import OP
from tftrt_toolkit.compat.engine_resources import RESOURCE_OPS
from tftrt_toolkit.errors import ModelError, OutputExistsError


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restored")
    return {name: restore_native(MODELS / name, folder / name) for name in RESTORABLE}


@pytest.mark.parametrize("name", RESTORABLE)
def test_both_loaders_give_the_original_results(name, restored, expected):
    assert_same(run(restored[name].directory, expected["x"]), expected)
    assert_same(run_in_session(restored[name].directory, expected["x"]), expected)


@pytest.mark.parametrize("name", RESTORABLE)
def test_nothing_of_tf_trt_is_left(name, restored):
    directory = restored[name].directory
    meta_graph = meta_graph_of(directory)
    assert not ops_of(meta_graph) & {OP, *RESOURCE_OPS}
    assert not {op.name for op in meta_graph.meta_info_def.stripped_op_list.op} & {
        OP,
        *RESOURCE_OPS,
    }
    assert not meta_graph.asset_file_def
    assert not any(node.HasField("resource") for node in meta_graph.object_graph_def.nodes)
    assert not list(directory.rglob("trt-serialized-engine*"))
    assert len(restored[name].engines) == 2


@pytest.mark.parametrize("name", RESTORABLE)
def test_signatures_and_variables_are_untouched(name, restored):
    before, after = meta_graph_of(MODELS / name), meta_graph_of(restored[name].directory)
    assert after.signature_def == before.signature_def
    assert after.saver_def == before.saver_def
    for path in (MODELS / name / "variables").glob("*"):
        copy = restored[name].directory / "variables" / path.name
        assert filecmp.cmp(path, copy, shallow=False)


@pytest.mark.parametrize("name", ["static", "dynamic", "unfrozen", "unbuilt"])
def test_the_fingerprint_is_of_the_new_graph(name, restored):
    fingerprint = tf.saved_model.experimental.read_fingerprint
    before = fingerprint(str(MODELS / name))
    after = fingerprint(str(restored[name].directory))
    assert after.saved_model_checksum != before.saved_model_checksum
    assert after.checkpoint_hash == before.checkpoint_hash


@pytest.mark.parametrize("name", WITH_ASSETS)
def test_engine_assets_are_listed(name, restored):
    assert sorted(restored[name].assets) == [
        "trt-serialized-engine.TRTEngineOp_000_000",
        "trt-serialized-engine.TRTEngineOp_000_001",
    ]


def test_variables_stay_variables(restored):
    model = tf.saved_model.load(str(restored["unfrozen"].directory))
    assert model.first.shape == (4, 8)
    assert not hasattr(model, "trt_engine_resources")


def test_parameters_are_those_of_the_conversion(restored):
    assert restored["static"].parameters["use_dynamic_shape"] is False
    dynamic = restored["dynamic"].parameters
    assert dynamic["use_dynamic_shape"] is True
    assert dynamic["dynamic_shape_profile_strategy"] == "range"
    assert dynamic["precision_mode"] == "FP32"


def test_removed_native_segments_are_refused(tmp_path):
    with pytest.raises(ModelError, match="native segments removed"):
        restore_native(MODELS / "without_native_segments", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_plain_model_is_refused(restored, tmp_path):
    with pytest.raises(ModelError, match="holds no TRTEngineOp"):
        restore_native(restored["static"].directory, tmp_path / "out")


def test_an_existing_output_is_kept(tmp_path):
    (tmp_path / "precious").touch()
    with pytest.raises(OutputExistsError):
        restore_native(MODELS / "static", tmp_path)
    restore_native(MODELS / "static", tmp_path, overwrite=True)
    assert not (tmp_path / "precious").exists()
