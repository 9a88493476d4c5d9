import numpy as np
import pytest
import tensorflow as tf

from tests.tf1_models import save_tf1_model, v1
from tftrt_toolkit.ref_variables import upgrade_variables
from tftrt_toolkit.saved_model import read_saved_model


def meta_graph(build):
    with tf.Graph().as_default():
        build()
        return v1.train.export_meta_graph()


def counts(graph):
    ops = [node.op for node in graph.graph_def.node]
    return {op: ops.count(op) for op in sorted(set(ops))}


def run(graph, *fetches):
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.import_meta_graph(graph)
        session.run(v1.global_variables_initializer())
        return [session.run(fetch) for fetch in fetches]


def test_reads_assignments_and_bare_uses_are_replaced():
    def build():
        state = v1.get_variable("state", [2], initializer=v1.ones_initializer(), use_resource=False)
        tf.add(state, 1.0, name="through_read")
        tf.negative(state, name="bare")
        v1.assign_add(state, [1.0, 2.0], name="grow")
        v1.is_variable_initialized(state)

    graph = meta_graph(build)
    (bare,) = [node for node in graph.graph_def.node if node.name == "bare"]
    bare.input[0] = "state"  # by reference, past the Identity that Python puts between
    assert upgrade_variables(graph) == {"state"}
    assert "VariableV2" not in counts(graph)
    assert counts(graph)["VarIsInitializedOp"] == 1
    through_read, bare, _, grown = run(graph, "through_read:0", "bare:0", "grow", "bare:0")
    assert through_read.tolist() == [2, 2]
    assert bare.tolist() == [-1, -1]
    assert grown.tolist() == [-2, -3]


def test_what_an_assignment_yields_is_read_behind_it():
    def build():
        state = v1.get_variable("state", [], initializer=v1.zeros_initializer(), use_resource=False)
        tf.multiply(v1.assign_add(state, 2.0), 10.0, name="after")

    graph = meta_graph(build)
    upgrade_variables(graph)
    assert run(graph, "after:0", "after:0") == [20, 40]


def test_an_op_without_a_counterpart_keeps_its_variable():
    def build():
        kept = v1.get_variable(
            "kept", [4, 2], initializer=v1.zeros_initializer(), use_resource=False
        )
        v1.get_variable("upgraded", [2], initializer=v1.ones_initializer(), use_resource=False)
        v1.scatter_update(kept, [1], [[5.0, 6.0]], name="scatter")

    graph = meta_graph(build)
    assert upgrade_variables(graph) == {"upgraded"}
    (rows,) = run(graph, "scatter:0")
    assert rows.tolist() == [[0, 0], [5, 6], [0, 0], [0, 0]]


def test_a_graph_of_resource_variables_is_left_alone():
    graph = meta_graph(lambda: v1.get_variable("state", [2], use_resource=True))
    before = graph.SerializeToString(deterministic=True)
    assert upgrade_variables(graph) == set()
    assert graph.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("loader", ["tf1", "tf2"])
def test_the_checkpoint_of_reference_variables_fits(tmp_path, loader):
    directory = save_tf1_model(tmp_path / "model", use_resource=False)
    kernel = tf.train.load_checkpoint(str(directory / "variables/variables"))
    expected = kernel.get_tensor("dense/kernel")
    saved_model = read_saved_model(directory)
    assert len(upgrade_variables(saved_model.meta_graphs[0])) == 3
    (directory / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    if loader == "tf2":
        variables = tf.saved_model.load(str(directory)).variables
        got = next(each for each in variables if each.shape == [64, 128]).numpy()
    else:
        with tf.Graph().as_default(), v1.Session() as session:
            v1.saved_model.load(session, ["serve"], str(directory))
            got = session.run("dense/kernel/read:0")
    np.testing.assert_array_equal(got, expected)
