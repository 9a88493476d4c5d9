"""Variables that the initializer gives to the engines' resources."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from tests.assemble.cutting import cut
from tftrt_toolkit import restore_native, runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function, save_model
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.freeze import freeze_function, load_model
from tftrt_toolkit.saved_model import read_saved_model

X = tf.constant(np.linspace(-1, 1, 2 * 64, dtype=np.float32).reshape(2, 64))


class Layers(tf.Module):
    """Two segments with a sort between; the first takes a captured tensor beside its variables."""

    def __init__(self):
        self.first = [tf.Variable(tf.random.stateless_normal([64, 64], [n, n])) for n in range(3)]
        self.last = tf.Variable(tf.random.stateless_normal([64, 64], [7, 7]))
        self.captured = tf.random.stateless_normal([64, 64], [8, 8])

    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, "x")])
    def serve(self, x):
        x = x @ self.captured
        for weight in self.first:
            x = tf.nn.relu(x @ weight) / 64.0
        return {"y": tf.matmul(tf.sort(x), self.last, name="last")}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    runtime.load_ops()
    root = tmp_path_factory.mktemp("layers")
    module = Layers()
    tf.saved_model.save(module, str(root / "model"), module.serve)
    model = load_model(root / "model")
    frozen = freeze_function(model.signatures["serving_default"], "serving_default")
    segments = [
        cut(frozen.graph, lambda node: in_first(node) and not is_last(node), "TRTEngineOp_000_000"),
        cut(frozen.graph, is_last, "TRTEngineOp_000_001"),
    ]
    converted = assemble_function(frozen, {frozen.graph.name: segments}, EngineAttributes())
    (root / "engine").write_bytes(b"an engine")
    assets = {resource: root / "engine" for resource in converted.resources.values()}
    save_model(model, {"serving_default": converted}, assets, root / "converted")
    return root


def in_first(node):
    return node.op in {"MatMul", "Relu", "RealDiv", "Mul"}


def is_last(node):
    return node.name.endswith("last")


def load(directory):
    return tf.saved_model.load(str(directory))


def outputs(directory):
    return load(directory).signatures["serving_default"](x=X)["y"].numpy()


def test_a_signature_takes_one_resource_for_each_engine(directory):
    signature = load(directory / "converted").signatures["serving_default"]
    assert len(load(directory / "model").signatures["serving_default"].captured_inputs) == 5
    kinds = sorted(tensor.dtype.name for tensor in signature.captured_inputs)
    assert kinds == ["float32", "resource", "resource"]  # the captured tensor isn't a variable
    engines = [op for op in signature.graph.get_operations() if op.type == "TRTEngineOp"]
    assert [len(op.inputs) for op in engines] == [2, 1]


def test_it_gives_what_the_original_gives_under_both_loaders(directory):
    expected = outputs(directory / "model")
    np.testing.assert_array_equal(outputs(directory / "converted"), expected)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(directory / "converted"))
        signature = graph.signature_def["serving_default"]
        feeds = {signature.inputs["x"].name: np.asarray(X)}
        for _ in range(2):
            got = session.run(signature.outputs["y"].name, feeds)
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)


def test_each_load_has_its_own_variables(directory):
    one, other = load(directory / "converted"), load(directory / "converted")
    before = one.signatures["serving_default"](x=X)["y"].numpy()
    one.last.assign(2.0 * one.last)
    np.testing.assert_allclose(one.signatures["serving_default"](x=X)["y"], 2.0 * before)
    np.testing.assert_array_equal(other.signatures["serving_default"](x=X)["y"], before)


def test_a_signature_outlives_its_model(directory):
    signature = load(directory / "converted").signatures["serving_default"]
    gc.collect()
    np.testing.assert_array_equal(signature(x=X)["y"], outputs(directory / "model"))


def test_the_variables_go_with_the_model(directory):
    model = load(directory / "converted")
    model.signatures["serving_default"](x=X)
    handles = [weakref.ref(variable.handle) for variable in (*model.first, model.last)]
    functions = weakref.ref(model.signatures["serving_default"].graph)
    del model
    gc.collect()
    assert [handle() for handle in handles] == [None] * 4
    assert functions() is None


def test_a_signature_converted_again_outlives_its_model(directory, tmp_path):
    model = load_model(directory / "converted")
    frozen = freeze_function(model.signatures["serving_default"], "serving_default")
    segment = cut(frozen.graph, lambda node: node.op == "TopKV2", "TRTEngineOp_000_002")
    again = assemble_function(frozen, {frozen.graph.name: [segment]}, EngineAttributes())
    (resource,) = again.resources.values()
    assets = {resource: directory / "engine"}
    save_model(model, {"serving_default": again}, assets, tmp_path / "again")
    expected = outputs(directory / "model")
    np.testing.assert_array_equal(again.function(x=X)["y"], expected)
    del model, frozen, again
    signature = load(tmp_path / "again").signatures["serving_default"]
    gc.collect()
    np.testing.assert_array_equal(signature(x=X)["y"], expected)


def test_tensorflow_may_save_it_again(directory, tmp_path):
    model = load(directory / "converted")
    tf.saved_model.save(model, str(tmp_path / "again"), model.signatures)
    np.testing.assert_array_equal(outputs(tmp_path / "again"), outputs(directory / "model"))
    with pytest.raises(ModelError, match="loaded and saved again"):
        restore_native(tmp_path / "again", tmp_path / "plain")
    assert not (tmp_path / "plain").exists()


def test_restoring_hands_the_variables_back(directory, tmp_path):
    restore_native(directory / "converted", tmp_path / "plain")
    np.testing.assert_array_equal(outputs(tmp_path / "plain"), outputs(directory / "model"))
    signature = load(tmp_path / "plain").signatures["serving_default"]
    assert len(signature.captured_inputs) == 5


def test_a_model_whose_initializer_was_not_run_says_so(directory):
    (meta_graph,) = read_saved_model(directory / "converted").meta_graphs
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.train.import_meta_graph(meta_graph)
        signature = meta_graph.signature_def["serving_default"]
        feeds = {signature.inputs["x"].name: np.asarray(X)}
        with pytest.raises(tf.errors.FailedPreconditionError, match="initializer wasn't run"):
            session.run(signature.outputs["y"].name, feeds)
