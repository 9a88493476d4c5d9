"""What one signature assigns and another has in its engines is told."""

import pytest
import tensorflow as tf

from tftrt_toolkit import TrtGraphConverterV2
from tftrt_toolkit.freeze import load_model
from tftrt_toolkit.freeze.shared_state import stale_weights
from tftrt_toolkit.saved_model import read_saved_model, signature_objects

ROWS = tf.TensorSpec([None, 4], tf.float32, "rows")


class Model(tf.Module):
    """`serve` reads `kernel`; `update` and, inside a loop, `decay` assign it; `count` a counter."""

    def __init__(self):
        self.kernel = tf.Variable(tf.ones([4, 4]), name="kernel")
        self.calls = tf.Variable(0, name="calls")

    @tf.function(input_signature=[ROWS])
    def serve(self, rows):
        return {"y": tf.nn.relu(rows @ self.kernel) + 1.0}

    @tf.function(input_signature=[tf.TensorSpec([4, 4], tf.float32, "kernel")])
    def update(self, kernel):
        return {"old": self.kernel.assign(kernel)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, "steps")])
    def decay(self, steps):
        for _ in tf.range(steps):
            self.kernel.assign(self.kernel * 0.5)
        return {"kernel": self.kernel.read_value()}

    @tf.function(input_signature=[ROWS])
    def count(self, rows):
        return {"calls": self.calls.assign_add(1), "y": rows @ self.kernel}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory, model = tmp_path_factory.mktemp("shared"), Model()
    names = ("serve", "update", "decay", "count")
    signatures = {name: getattr(model, name).get_concrete_function() for name in names}
    tf.saved_model.save(model, str(directory), signatures)
    return directory


def test_each_signature_that_assigns_a_weight_is_named(directory):
    notes = load_model(directory, None, ["serve"]).notes
    assert [note.split()[1] for note in notes] == ["'decay'", "'update'"]
    assert all("assigns 'kernel'" in note for note in notes)


def test_what_a_signature_assigns_itself_is_no_weight(directory):
    assert load_model(directory, None, ["update", "decay"]).notes == ()
    assert (
        load_model(directory, None, ["serve", "update", "decay"]).notes
        == load_model(directory, None, ["serve"]).notes
    )


def test_a_conversion_warns_and_reports(directory, caplog):
    converter = TrtGraphConverterV2(
        str(directory), input_saved_model_signature_key="serve", use_dynamic_shape=True
    )
    converter.convert()
    assert "convert again after calling it" in caplog.text
    assert any("'update' assigns 'kernel'" in note for note in converter.report()["notes"])


def without_function(meta_graph, name):
    library = meta_graph.graph_def.library.function
    library.remove(next(one for one in library if one.signature.name == name))


def without_saved_function(meta_graph, name):
    del meta_graph.object_graph_def.concrete_functions[name]


@pytest.mark.parametrize("damage", [without_function, without_saved_function])
def test_a_signature_without_its_function_is_left_to_the_loader(directory, damage):
    meta_graph = read_saved_model(directory).meta_graphs[0]
    objects = meta_graph.object_graph_def
    update = objects.nodes[signature_objects(objects)["update"]].bare_concrete_function
    damage(meta_graph, update.concrete_function_name)
    damaged = meta_graph.SerializeToString(deterministic=True)
    (note,) = stale_weights(meta_graph, ["serve", "update"])
    assert note.startswith("signature 'decay' assigns 'kernel'")
    assert meta_graph.SerializeToString(deterministic=True) == damaged
