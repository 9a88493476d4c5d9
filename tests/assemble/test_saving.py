import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.assemble.cutting import cut_ops
from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function, save_model
from tftrt_toolkit.errors import InternalError, OutputExistsError
from tftrt_toolkit.freeze import freeze_function, load_model

DENSE = {"MatMul", "AddV2", "Relu"}


@pytest.fixture(scope="module", autouse=True)
def ops():
    runtime.load_ops()


class Vocabulary(tf.Module):
    """Words through a table with an asset, an embedding and two dense layers; two signatures."""

    def __init__(self, words_file):
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                words_file,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=0,
        )
        self.embedding = tf.Variable(tf.random.stateless_normal([100, 64], [1, 2]))
        self.layers = [tf.Variable(tf.random.stateless_normal([64, 128], [3, 4]))]
        self.calls = tf.Variable(0, trainable=False)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
    def serve(self, words):
        self.calls.assign_add(1)
        vectors = tf.nn.embedding_lookup(self.embedding, self.table.lookup(words))
        return {"scores": tf.nn.relu(vectors @ self.layers[0] + 1.0)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
    def ids(self, words):
        return {"ids": self.table.lookup(words)}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("vocabulary")
    words = directory / "words.txt"
    words.write_text("\n".join(f"word{index}" for index in range(100)))
    module = Vocabulary(str(words))
    signatures = {"serving_default": module.serve, "ids": module.ids}
    tf.saved_model.save(module, str(directory / "model"), signatures)
    words.unlink()
    (directory / "model" / "assets.extra").mkdir()
    (directory / "model" / "assets.extra" / "notes.txt").write_text("keep me")
    return directory / "model"


@pytest.fixture(scope="module")
def model(model_dir):
    return load_model(model_dir)


def convert(model, ops=DENSE, scope="StatefulPartitionedCall"):
    frozen = freeze_function(model.signatures["serving_default"], "serving_default")
    segment = cut_ops(frozen.graph, ops, f"{scope}/TRTEngineOp_000_000")
    segments = {frozen.graph.name: [segment]}
    return assemble_function(frozen, segments, EngineAttributes())


@pytest.fixture(scope="module")
def converted(model):
    return convert(model)


@pytest.fixture
def assets(converted, tmp_path):
    (resource,) = converted.resources.values()
    (tmp_path / "engine").write_bytes(b"an engine")
    return {resource: tmp_path / "engine"}


WORDS = tf.constant(["word7", "word99", "word3", "unheard of"])


def save(model, converted, assets, directory, **options):
    save_model(model, {"serving_default": converted}, assets, directory, **options)
    return directory


def files_under(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_a_saved_model_gives_what_the_original_gives(model, converted, assets, tmp_path):
    saved = tf.saved_model.load(str(save(model, converted, assets, tmp_path / "out")))
    scores = saved.signatures["serving_default"](words=WORDS)["scores"]
    expected = model.signatures["serving_default"](words=WORDS)["scores"]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-4)
    types = {op.type for op in saved.signatures["serving_default"].graph.get_operations()}
    assert "TRTEngineOp" in types
    assert "MatMul" not in types


def test_other_signatures_methods_objects_and_files_stay(model, converted, assets, tmp_path):
    directory = save(model, converted, assets, tmp_path / "out")
    saved = tf.saved_model.load(str(directory))
    assert saved.signatures["ids"](words=WORDS)["ids"].numpy().tolist() == [7, 99, 3, 0]
    assert saved.ids(WORDS)["ids"].numpy().tolist() == [7, 99, 3, 0]
    np.testing.assert_array_equal(saved.layers[0], model.root.layers[0])
    assert hasattr(saved.table, "resource_handle")
    assert files_under(directory) == {
        *files_under(model.directory),
        "assets/trt-serialized-engine.TRTEngineOp_000_000",
    }


def test_a_signature_keeps_its_structure(model, converted, assets, tmp_path):
    saved = tf.saved_model.load(str(save(model, converted, assets, tmp_path / "out")))
    got, original = saved.signatures["serving_default"], model.signatures["serving_default"]
    assert got.structured_input_signature == original.structured_input_signature
    assert got.structured_outputs == original.structured_outputs


def test_side_effects_still_happen(model, converted, assets, tmp_path):
    saved = tf.saved_model.load(str(save(model, converted, assets, tmp_path / "out")))
    for _ in range(3):
        saved.signatures["serving_default"](words=WORDS)
    assert saved.calls.numpy() == 3


def test_tensorflow_1_loads_and_runs_it(model, converted, assets, tmp_path):
    directory = save(model, converted, assets, tmp_path / "out")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(directory))
        signature = graph.signature_def["serving_default"]
        feeds = {signature.inputs["words"].name: WORDS.numpy()}
        scores = session.run(signature.outputs["scores"].name, feeds)
    expected = model.signatures["serving_default"](words=WORDS)["scores"]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-4)


def test_both_loaders_hand_each_asset_to_its_resource(model, converted, assets, tmp_path, caplog):
    directory = save(model, converted, assets, tmp_path / "out")
    asset = directory / "assets" / "trt-serialized-engine.TRTEngineOp_000_000"
    assert asset.read_bytes() == b"an engine"
    (resource,) = converted.resources.values()

    def load_1():
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.compat.v1.saved_model.load(session, ["serve"], str(directory))

    for load in (load_1, lambda: tf.saved_model.load(str(directory))):
        caplog.clear()
        load()
        # The runtime says of what it can't read which file it is and whose.
        assert f"{resource} runs natively" in caplog.text
        assert str(asset) in caplog.text


def test_a_second_save_writes_the_engines_again(model, converted, assets, tmp_path):
    first = save(model, converted, assets, tmp_path / "first")
    second = save(model, converted, assets, tmp_path / "second")
    assert files_under(first) == files_under(second)
    saved = tf.saved_model.load(str(second))
    assert saved.signatures["serving_default"](words=WORDS)["scores"].shape == [4, 128]


def test_a_converted_model_converts_again(model, converted, assets, tmp_path):
    directory = save(model, converted, assets, tmp_path / "first")
    again = load_model(directory)
    twice = convert(again, {"GatherV2"}, "again")
    (resource,) = twice.resources.values()
    second = {resource: next(iter(assets.values()))}
    saved = tf.saved_model.load(str(save(again, twice, second, tmp_path / "second")))
    np.testing.assert_allclose(
        saved.signatures["serving_default"](words=WORDS)["scores"],
        model.signatures["serving_default"](words=WORDS)["scores"],
        rtol=1e-5,
        atol=1e-4,
    )
    assert "assets/trt-serialized-engine.TRTEngineOp_000_000_1" in files_under(tmp_path / "second")


def test_the_report_lies_beside_the_model(model, converted, assets, tmp_path):
    directory = save(model, converted, assets, tmp_path / "out", report={"segments": [1]})
    report = json.loads((directory / "assets.extra" / "tftrt_report.json").read_text())
    assert report == {"segments": [1]}


def test_a_filled_directory_is_refused_and_left_alone(model, converted, assets, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    with pytest.raises(OutputExistsError, match="isn't empty"):
        save(model, converted, assets, tmp_path / "out")
    assert files_under(tmp_path / "out") == {"precious"}
    with pytest.raises(OutputExistsError, match="is a file"):
        save(model, converted, assets, tmp_path / "engine")


def test_overwriting_replaces_the_directory_even_the_models_own(model_dir, assets, tmp_path):
    copy = shutil.copytree(model_dir, tmp_path / "model")
    loaded = load_model(copy)
    converted = convert(loaded)
    save(loaded, converted, {}, copy, overwrite=True)
    types = [
        op.type
        for op in tf.saved_model.load(str(copy))
        .signatures["serving_default"]
        .graph.get_operations()
    ]
    assert "TRTEngineOp" in types
    assert {path.name for path in tmp_path.iterdir()} == {"engine", "model"}


def test_a_failing_save_leaves_the_old_model(model, converted, assets, tmp_path):
    directory = save(model, converted, assets, tmp_path / "out")
    before = (directory / "saved_model.pb").read_bytes()
    (resource,) = converted.resources.values()
    with pytest.raises(FileNotFoundError):
        save(model, converted, {resource: Path("gone")}, directory, overwrite=True)
    assert (directory / "saved_model.pb").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"engine", "out"}


def test_an_asset_without_a_segment_is_a_fault_of_ours(model, converted, assets, tmp_path):
    with pytest.raises(InternalError, match="no segment has the resource 'other'"):
        save(model, converted, {"other": tmp_path / "engine"}, tmp_path / "out")
