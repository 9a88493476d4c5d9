"""Functions of loops and branches: bodies with weights and shapes of their own."""

import numpy as np
import tensorflow as tf

from tests.freeze.frozen import ROWS, body, freeze, multiplied, nodes, variable


def test_a_loop_and_its_matrices():
    kernel = variable(64, 64)

    def serve(rows):
        return tf.while_loop(
            lambda step, _: step < 3,
            lambda step, state: (step + 1, tf.tanh(state @ kernel)),
            [0, rows],
        )[1]

    graph = freeze(serve, ROWS)
    loop = body(graph, "body")
    (weight,) = loop.weights.values()
    np.testing.assert_array_equal(weight.value, kernel)
    assert weight.reader.input[0] in loop.arguments
    (matmul,) = nodes(loop, "MatMul")
    assert loop.tensors[f"{matmul.name}:0"].shape.as_list() == [None, 64]


def test_a_matrix_read_outside_of_the_loop_is_a_weight_inside():
    kernel = variable(64, 64)

    def serve(rows):
        value = kernel * 1.0 if rows is None else kernel.read_value()
        return tf.while_loop(
            lambda step, _: step < 3,
            lambda step, state: (step + 1, state @ value),
            [0, rows],
        )[1]

    loop = body(freeze(serve, ROWS), "body")
    (weight,) = loop.weights.values()
    np.testing.assert_array_equal(weight.value, kernel)
    assert weight.reader.op == "Identity"


def test_what_a_loop_changes_is_no_weight():
    kernel = variable(64, 64)

    def serve(rows):
        return tf.while_loop(
            lambda step, *_: step < 3,
            lambda step, state, matrix: (step + 1, state @ matrix, matrix * 0.5),
            [0, rows, kernel.read_value()],
        )[1]

    assert not body(freeze(serve, ROWS), "body").weights


def test_branches_have_their_weights():
    first, second = variable(64, 128, seed=1), variable(64, 128, seed=2)

    def serve(rows):
        return tf.cond(rows[0, 0] > 0, lambda: rows @ first, lambda: rows @ second)

    graph = freeze(serve, ROWS)
    values = [next(iter(item.weights.values())).value for item in graph.bodies.values()]
    assert len(values) == 2
    assert {value.sum() for value in values} == {first.numpy().sum(), second.numpy().sum()}


def test_cases_have_their_weights():
    kernels = [variable(64, 128, seed=seed) for seed in range(3)]
    graph = freeze(
        lambda index, rows: tf.switch_case(index, [lambda k=k: rows @ k for k in kernels]),
        tf.TensorSpec([], tf.int32),
        ROWS,
    )
    assert [len(item.weights) for item in graph.bodies.values()] == [1, 1, 1]


def test_loops_in_branches_in_loops():
    kernel = variable(64, 64)

    def inner(state):
        return tf.while_loop(
            lambda step, _: step < 2,
            lambda step, state: (step + 1, state @ kernel),
            [0, state],
        )[1]

    def serve(rows):
        return tf.while_loop(
            lambda step, _: step < 2,
            lambda step, state: (
                step + 1,
                tf.cond(step > 0, lambda: inner(state), lambda: state),
            ),
            [0, rows],
        )[1]

    graph = freeze(serve, ROWS)
    branch = body(body(graph, "body"), "true")
    (weight,) = body(branch, "body").weights.values()
    np.testing.assert_array_equal(weight.value, kernel)


def test_one_function_called_twice_has_a_body_for_each_call():
    first, second = variable(64, 64, seed=1), variable(64, 64, seed=2)

    graph = freeze(lambda rows: multiplied(multiplied(rows, first.handle), second.handle), ROWS)
    loops = [item for name, item in graph.bodies.items() if "body" in name]
    values = [next(iter(loop.weights.values())).value.sum() for loop in loops]
    assert sorted(values) == sorted([first.numpy().sum(), second.numpy().sum()])


def test_shapes_are_those_of_the_call():
    layer = tf.function(
        lambda rows: tf.cond(rows[0, 0] > 0, lambda: rows * 2, lambda: rows + 1),
        input_signature=[tf.TensorSpec(None, tf.float32)],
    )
    graph = freeze(layer, tf.TensorSpec([4, 64], tf.float32))
    (mul,) = nodes(body(graph, "true"), "Mul")
    assert body(graph, "true").tensors[f"{mul.name}:0"].shape.as_list() == [4, 64]


def test_shapes_of_a_loop_widen_until_they_hold():
    def serve(rows):
        return tf.while_loop(
            lambda step, _: step < 3,
            lambda step, state: (step + 1, tf.concat([state, rows], 0)),
            [0, rows],
            shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, None])],
        )[1]

    loop = body(freeze(serve, tf.TensorSpec([4, 64], tf.float32)), "body")
    (concat,) = nodes(loop, "ConcatV2")
    assert loop.tensors[f"{concat.name}:0"].shape.as_list() == [None, 64]


def test_side_effects_in_bodies_stay():
    total = tf.Variable(0.0)

    def serve(rows):
        return tf.cond(
            tf.reduce_sum(rows) > 0,
            lambda: total.assign_add(1.0),
            lambda: total.read_value(),
        )

    graph = freeze(serve, ROWS)
    assert len(nodes(graph, "If")) == 1
    assert graph.control_results == (nodes(graph, "If")[0].name,)
    assert len(body(graph, "true").control_results) == 1
    assert not body(graph, "false").control_results
