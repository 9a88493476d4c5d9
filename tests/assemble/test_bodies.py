"""Segments inside While, If and Case bodies, assembled, saved and loaded again."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.assemble.cutting import cut, cut_ops
from tests.freeze.frozen import multiplied
from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function, save_model, segment_function
from tftrt_toolkit.freeze import freeze_function, load_model
from tftrt_toolkit.graph import node_of

ROWS = tf.TensorSpec([None, 64], tf.float32, "rows")


@pytest.fixture(scope="module", autouse=True)
def ops():
    runtime.load_ops()


def variable(*shape, seed=1):
    return tf.Variable(tf.random.stateless_normal(shape, [seed, seed]) / 8)


def walk(graph):
    yield graph
    for body in graph.bodies.values():
        yield from walk(body)


def convert(function, ops):
    """Every node whose op is among `ops` becomes part of its graph's one segment."""
    frozen = freeze_function(function, "main")
    segments = {}
    for index, graph in enumerate(walk(frozen.graph)):
        if any(node.op in ops for node in graph.graph_def.node):
            segments[graph.name] = [cut_ops(graph, ops, f"TRTEngineOp_{index:03d}_000")]
    return frozen, assemble_function(frozen, segments, EngineAttributes())


def check(original, converted, *arguments):
    expected = tf.nest.flatten(original(*arguments))
    for want, got in zip(expected, tf.nest.flatten(converted(*arguments)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.fixture
def rows():
    return tf.random.stateless_normal([3, 64], [3, 4])


class Nested(tf.Module):
    """A loop with a branch inside, with weights at every level, and a case at the end."""

    def __init__(self):
        self.kernels = [variable(64, 64, seed=seed) for seed in range(4)]
        self.steps = tf.Variable(0)
        self.constant = tf.random.stateless_normal([64, 64], [9, 9]) / 8

    @tf.function(input_signature=[ROWS, tf.TensorSpec([], tf.int32, "which")])
    def serve(self, rows, which):
        def step(index, state):
            self.steps.assign_add(1)
            state = tf.tanh(state @ self.kernels[0])
            state = tf.cond(
                index % 2 == 0,
                lambda: tf.nn.relu(state @ self.kernels[1]),
                lambda: state @ self.constant,
            )
            return index + 1, state

        state = tf.while_loop(lambda index, _: index < 4, step, [0, rows])[1]
        state = tf.switch_case(which, [lambda k=k: state @ k for k in self.kernels[2:]])
        return {"state": state}


def test_a_loop_with_branches_and_a_case(rows):
    module = Nested()
    original = module.serve.get_concrete_function()
    _, converted = convert(original, {"MatMul", "Tanh", "Relu"})
    assert len(converted.segments) == 5
    for which in (0, 1):
        check(original, converted.function, rows, tf.constant(which))
    assert module.steps.numpy() == 4 * 4


def test_it_saves_and_loads(tmp_path, rows):
    module = Nested()
    tf.saved_model.save(module, str(tmp_path / "model"))
    model = load_model(tmp_path / "model")
    _, converted = convert(model.signatures["serving_default"], {"MatMul", "Tanh", "Relu"})
    save_model(model, {"serving_default": converted}, {}, tmp_path / "out")
    saved = tf.saved_model.load(str(tmp_path / "out"))
    inputs = {"rows": rows, "which": tf.constant(1)}
    expected = model.signatures["serving_default"](**inputs)["state"]
    got = saved.signatures["serving_default"](**inputs)["state"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert saved.steps.numpy() == 4


def test_a_segment_of_a_body_runs_by_itself(rows):
    module = Nested()
    frozen, converted = convert(module.serve.get_concrete_function(), {"MatMul"})
    for segment in converted.segments:
        (output,) = segment_function(frozen, segment)([rows.numpy()])
        graph = next(graph for graph in walk(frozen.graph) if graph.name == segment.graph)
        (weight,) = segment.weights
        expected = rows.numpy() @ graph.weights[weight].value
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def test_one_body_called_twice_with_other_weights(rows):
    kernels = [variable(64, 64, seed=seed) for seed in (1, 2)]

    @tf.function(input_signature=[ROWS])
    def serve(rows):
        return multiplied(multiplied(rows, kernels[0].handle), kernels[1].handle)

    original = serve.get_concrete_function()
    _, converted = convert(original, {"MatMul"})
    assert len(converted.segments) == 2
    check(original, converted.function, rows)


class TestNodes:
    def converted_nodes(self, converted):
        return {op.name: op.node_def for op in converted.function.graph.get_operations()}

    def test_captured_tensors_follow_the_inputs(self, rows):
        constant = tf.random.stateless_normal([64, 100], [1, 1])

        @tf.function(input_signature=[ROWS])
        def serve(rows):
            return rows @ constant

        original = serve.get_concrete_function()
        _, converted = convert(original, {"MatMul"})
        node = self.converted_nodes(converted)["TRTEngineOp_000_000"]
        assert list(node.attr["InT"].list.type) == [1, 1]
        assert len(node.attr["input_shapes"].list.shape) == 1
        check(original, converted.function, rows)

    def test_outputs_beyond_the_first_enter_and_leave(self, rows):
        @tf.function(input_signature=[ROWS])
        def serve(rows):
            left, middle, right = tf.split(rows, [16, 16, 32], axis=1)
            first, second = tf.split(tf.nn.relu(right) * 2, 2, axis=1)
            return middle - second, left + first

        original = serve.get_concrete_function()
        frozen = freeze_function(original, "main")
        splits = [node.name for node in frozen.graph.graph_def.node if node.op.startswith("Split")]
        inner = cut(
            frozen.graph,
            lambda node: node.op in ("Relu", "Mul") or node.name == splits[1],
            "TRTEngineOp_000_000",
        )
        assert sorted(spec.name for spec in inner.outputs) == [splits[1] + ":0", splits[1] + ":1"]
        converted = assemble_function(frozen, {"main": [inner]}, EngineAttributes())
        check(original, converted.function, rows)

    def test_weights_and_constants_outside_stay_for_others(self, rows):
        kernel = variable(64, 64)

        @tf.function(input_signature=[ROWS])
        def serve(rows):
            return tf.nn.relu(rows @ kernel), tf.linalg.trace(kernel), rows + kernel[0]

        original = serve.get_concrete_function()
        _, converted = convert(original, {"MatMul", "Relu"})
        nodes = self.converted_nodes(converted)
        assert any(node.op == "ReadVariableOp" for node in nodes.values())
        check(original, converted.function, rows)

    def test_control_edges_go_through_the_engine(self, rows):
        log = tf.Variable(0.0)

        @tf.function(input_signature=[ROWS])
        def serve(rows):
            before = log.assign_add(1.0)
            with tf.control_dependencies([before]):
                product = tf.nn.relu(rows, name="inside")
            with tf.control_dependencies([product]):
                log.assign_add(1.0)
            return product

        original = serve.get_concrete_function()
        frozen = freeze_function(original, "main")
        segment = cut_ops(frozen.graph, {"Relu"}, "TRTEngineOp_000_000")
        waits = [
            node_of(name)
            for node in frozen.graph.graph_def.node
            if node.op == "Relu"
            for name in node.input
            if name.startswith("^")
        ]
        segment = dataclasses.replace(segment, control_inputs=tuple(waits))
        converted = assemble_function(frozen, {"main": [segment]}, EngineAttributes())
        nodes = self.converted_nodes(converted)
        assert [f"^{name}" for name in waits] == list(nodes["TRTEngineOp_000_000"].input)[1:]
        assert any("^TRTEngineOp_000_000" in node.input for node in nodes.values())
        converted.function(rows)
        assert log.numpy() == 2

    def test_devices_stay(self, rows):
        @tf.function(input_signature=[ROWS])
        def serve(rows):
            with tf.device("/device:CPU:0"):
                return tf.nn.relu(rows) * 2

        _, converted = convert(serve.get_concrete_function(), {"Relu", "Mul"})
        node = self.converted_nodes(converted)["TRTEngineOp_000_000"]
        assert node.device.endswith("CPU:0")

    def test_functions_that_are_no_bodies_run_on(self, rows):
        table = np.arange(8192, dtype=np.float32)

        @tf.function(input_signature=[ROWS])
        def serve(rows):
            data = tf.data.Dataset.range(3).map(
                lambda index: tf.gather(tf.constant(table), index * 1000)
            )
            total = data.reduce(0.0, lambda state, value: state + value)
            return tf.nn.relu(rows) + total

        original = serve.get_concrete_function()
        _, converted = convert(original, {"Relu"})
        check(original, converted.function, rows)
