"""What one signature assigns and another has in its engines is told."""

import pytest
import tensorflow as tf

from tftrt_toolkit import TrtGraphConverterV2
from tftrt_toolkit.freeze import load_model

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
