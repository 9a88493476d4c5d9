import gc
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.freeze import load_model, signature
from tftrt_toolkit.freeze.prune import Pruned, keep_signatures
from tftrt_toolkit.saved_model import read_saved_model

ROWS = tf.TensorSpec([None, 4], tf.float32, "rows")


@tf.custom_gradient
def doubled(x):
    def gradient(upstream):
        return upstream * 3.0

    return x * 2.0, gradient


class Model(tf.Module):
    """Two signatures with a variable each, a copy of one, a table from a file, one with a state."""

    def __init__(self, vocabulary):
        self.first, self.second = tf.Variable(tf.ones([4, 2])), tf.Variable(tf.ones([4, 3]))
        self.copies = [tf.Variable(self.second)]
        self.vocabulary = tf.saved_model.Asset(str(vocabulary))
        self.table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
            ), num_oov_buckets=1,
        )  # fmt: skip
        self.counts = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)
        self.counts.insert(tf.constant([1], tf.int64), tf.constant([41], tf.int64))

    @tf.function(input_signature=[ROWS])
    def products(self, rows):
        return {"products": doubled(rows @ self.first)}

    @tf.function(input_signature=[ROWS])
    def others(self, rows):
        # The gradient of silu is a function that captures a tensor of this one.
        return {"others": tf.nn.silu(rows @ self.second)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
    def words(self, words):
        ids = self.table.lookup(words)
        text = tf.io.read_file(self.vocabulary.asset_path)
        return {"ids": ids, "counts": self.counts.lookup(ids), "text": text}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    (directory / "words.txt").write_text("zero\none\n")
    model = Model(directory / "words.txt")
    signatures = {"products": model.products, "others": model.others, "words": model.words}
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(model, str(directory / "saved"), signatures, options)
    (directory / "words.txt").unlink()
    return directory / "saved"


@pytest.fixture
def meta_graph(model_dir):
    return read_saved_model(model_dir).meta_graphs[0]


def kinds(meta_graph):
    return [node.WhichOneof("kind") for node in meta_graph.object_graph_def.nodes]


def test_only_the_variables_of_wanted_signatures_are_created(model_dir):
    root = load_model(model_dir, keys=["products"]).root
    assert root.first.shape == [4, 2]
    assert not hasattr(root, "second")
    assert not hasattr(root.copies, "0")


def test_a_signature_gives_what_it_gave(model_dir):
    rows = tf.constant(np.arange(8, dtype=np.float32).reshape(2, 4))
    whole = signature(load_model(model_dir), "products")
    pruned = signature(load_model(model_dir, keys=["products"]), "products")
    np.testing.assert_array_equal(pruned(rows=rows)["products"], whole(rows=rows)["products"])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        result = pruned(rows=rows)["products"]
    np.testing.assert_array_equal(tape.gradient(result, rows), np.full([2, 4], 6.0))


def test_tables_assets_and_their_states_are_there(model_dir):
    words = signature(load_model(model_dir, keys=["words"]), "words")
    found = words(words=tf.constant(["one", "zero", "two"]))
    assert found["ids"].numpy().tolist() == [1, 0, 2]
    assert found["counts"].numpy().tolist() == [41, -1, -1]
    assert found["text"].numpy() == b"zero\none\n"


def test_several_signatures_are_kept(model_dir):
    model = load_model(model_dir, keys=["products", "others"])
    assert model.signatures.keys() == {"products", "others"}


def test_functions_that_nobody_needs_go(meta_graph):
    before = {function.signature.name for function in meta_graph.graph_def.library.function}
    pruned = keep_signatures(meta_graph, ["products"])
    after = {function.signature.name for function in meta_graph.graph_def.library.function}
    assert after < before
    assert pruned == Pruned(len(before) - len(after), variables=2)
    assert any("traced_save" in name for name in before)
    assert not any("traced_save" in name or "others" in name for name in after)
    assert set(meta_graph.object_graph_def.concrete_functions) <= after
    assert keep_signatures(meta_graph, ["products"]) == Pruned()


def test_slot_variables_go_with_their_variables(meta_graph):
    objects = meta_graph.object_graph_def
    first, second = (
        next(one.node_id for one in objects.nodes[0].children if one.local_name == name)
        for name in ("first", "second")
    )
    optimizer = objects.nodes.add()
    optimizer.user_object.identifier = "optimizer"
    for variable in (first, second):
        slot = len(objects.nodes)
        objects.nodes.add().variable.CopyFrom(objects.nodes[variable].variable)
        optimizer.slot_variables.add(original_variable_node_id=variable, slot_variable_node_id=slot)
    # One of the slots is part of the signature's function.
    for name in objects.concrete_functions:
        if "products" in name:
            objects.concrete_functions[name].bound_inputs.append(slot)
    keep_signatures(meta_graph, ["products"])
    kept = optimizer.slot_variables
    assert [one.slot_variable_node_id for one in kept] == [slot]
    found = kinds(meta_graph)
    assert [found[index] for index in (slot - 1, slot)] == ["user_object", "variable"]
    assert [found[index] for index in (first, second)] == ["variable", "variable"]


def test_an_unknown_signature_changes_nothing(model_dir, meta_graph):
    before = meta_graph.SerializeToString(deterministic=True)
    assert keep_signatures(meta_graph, ["products", "predict"]) == Pruned()
    assert meta_graph.SerializeToString(deterministic=True) == before
    with pytest.raises(ModelError, match="it has 'others', 'products', 'words'"):
        signature(load_model(model_dir, keys=["predict"]), "predict")


def test_a_damaged_checkpoint_is_told_by_the_models_own_path(model_dir, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "saved_model.pb").write_bytes((model_dir / "saved_model.pb").read_bytes())
    with pytest.raises(ModelError, match="can't be loaded") as error:
        load_model(copy, keys=["products"])
    assert "tftrt_model_" not in str(error.value)


def test_values_that_are_left_in_the_checkpoint_are_no_news(model_dir, monkeypatch):
    said = []
    monkeypatch.setattr(tf.get_logger(), "warning", lambda *words: said.append(words))
    model = load_model(model_dir, keys=["products"])
    del model
    gc.collect()
    assert said == []


def test_a_value_that_the_checkpoint_lacks_is_missed(model_dir, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(model_dir, copy)
    tf.train.Checkpoint(copies=[tf.Variable(1.0)]).write(str(copy / "variables" / "variables"))
    with pytest.raises(ModelError, match="no value of variable"):
        load_model(copy, keys=["products"])


def test_a_signature_without_variables_loads(tmp_path):
    module = tf.Module()
    module.unused = tf.Variable(1.0)
    double = tf.function(lambda rows: {"doubled": rows * 2.0}, input_signature=[ROWS])
    tf.saved_model.save(module, str(tmp_path), {"double": double})
    function = signature(load_model(tmp_path, keys=["double"]), "double")
    assert function(rows=tf.ones([1, 4]))["doubled"].numpy().tolist() == [[2.0] * 4]
