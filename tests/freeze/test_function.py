import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.freeze import freeze_function
from tftrt_toolkit.graph import data_inputs, node_of


def variable(*shape, seed=1, name=None):
    return tf.Variable(tf.random.stateless_normal(shape, [seed, seed]), name=name)


def freeze(function, *specs):
    """A Python function, frozen under the name `main`."""
    return freeze_function(tf.function(function).get_concrete_function(*specs), "main").graph


def ops(graph):
    return [node.op for node in graph.graph_def.node]


def nodes(graph, op):
    return [node for node in graph.graph_def.node if node.op == op]


def body(graph, part):
    """The one body whose name has `part` in it."""
    (found,) = [item for name, item in graph.bodies.items() if part in name]
    return found


ROWS = tf.TensorSpec([None, 64], tf.float32, "rows")


class TestVariables:
    def test_a_large_variable_becomes_a_weight_that_shares_its_memory(self):
        kernel = variable(64, 128)
        graph = freeze(lambda rows: rows @ kernel, ROWS)
        ((name, weight),) = graph.weights.items()
        np.testing.assert_array_equal(weight.value, kernel.numpy())
        assert np.shares_memory(weight.value, np.asarray(memoryview(kernel.read_value())))
        assert not weight.value.flags.writeable
        placeholder = next(node for node in graph.graph_def.node if node.name == name)
        assert placeholder.op == "Placeholder"
        assert weight.reader.op == "ReadVariableOp"
        assert weight.reader.name == name
        assert weight.reader.input[0] in graph.arguments
        assert graph.graph_def.ByteSize() < 5000

    def test_a_view_outlives_an_assignment(self):
        kernel = variable(64, 128)
        (weight,) = freeze(lambda rows: rows @ kernel, ROWS).weights.values()
        before = weight.value.copy()
        kernel.assign(tf.zeros_like(kernel))
        np.testing.assert_array_equal(weight.value, before)

    def test_bfloat16_variables_are_read_too(self):
        kernel = tf.Variable(tf.cast(tf.random.stateless_normal([64, 128], [1, 2]), tf.bfloat16))
        graph = freeze(lambda rows: tf.cast(rows, tf.bfloat16) @ kernel, ROWS)
        (weight,) = graph.weights.values()
        assert weight.value.dtype == tf.bfloat16.as_numpy_dtype
        np.testing.assert_array_equal(weight.value, kernel.numpy())

    def test_a_small_vector_folds_and_a_small_kernel_stays_a_weight(self):
        kernel, scale = variable(3, 3, 3, 8), variable(8)
        images = tf.TensorSpec([None, 8, 8, 3], tf.float32)
        graph = freeze(
            lambda image: tf.nn.conv2d(image, kernel, 1, "SAME") * tf.math.rsqrt(scale * scale + 1),
            images,
        )
        assert "Rsqrt" not in ops(graph)
        assert ops(graph).count("Mul") == 1  # into the kernel it would change what Conv2D rounds
        (weight,) = graph.weights.values()
        assert weight.value.shape == (3, 3, 3, 8)

    def test_a_variable_that_is_assigned_stays_a_variable(self):
        kernel, counter = variable(64, 128), tf.Variable(tf.zeros([64, 128]))

        def serve(rows):
            counter.assign(counter * 2.0)
            return rows @ kernel + tf.reduce_sum(rows @ counter)

        graph = freeze(serve, ROWS)
        (weight,) = graph.weights.values()
        np.testing.assert_array_equal(weight.value, kernel)
        (assign,) = nodes(graph, "AssignVariableOp")
        assert graph.control_results == (assign.name,)
        reads = nodes(graph, "ReadVariableOp")
        assert [graph.tensors[f"{read.name}:0"].shape for read in reads] == [[64, 128]] * 2

    def test_an_assignment_inside_a_branch_counts(self):
        state = variable(64, 128)

        def serve(rows):
            product = rows @ state
            tf.cond(
                tf.reduce_sum(rows) > 0,
                lambda: state.assign(-state),
                lambda: state.read_value(),
            )
            return product

        graph = freeze(serve, ROWS)
        assert not graph.weights
        assert not any(item.weights for item in graph.bodies.values())
        assert nodes(graph, "ReadVariableOp")

    def test_two_reads_of_a_variable_are_one_weight(self):
        table = variable(200, 64)
        graph = freeze(
            lambda ids: tf.matmul(tf.gather(table, ids), table, transpose_b=True),
            tf.TensorSpec([None], tf.int32),
        )
        assert len(graph.weights) == 1
        (gather,) = nodes(graph, "GatherV2")
        (matmul,) = nodes(graph, "MatMul")
        assert node_of(gather.input[0]) == node_of(matmul.input[1]) == next(iter(graph.weights))
        assert "ResourceGather" not in ops(graph)

    def test_gathers_along_batches_and_nd_keep_their_meaning(self):
        table = variable(8, 32, 32)
        ids = tf.constant([[1, 2]] * 8)

        def serve(rows):
            batched = tf.gather(table, ids, batch_dims=1) + rows[0, 0]
            return batched, tf.raw_ops.ResourceGatherNd(
                resource=table.handle, indices=ids, dtype=tf.float32
            )

        frozen = freeze_function(tf.function(serve).get_concrete_function(ROWS), "main")
        assert {"GatherV2", "GatherNd"} <= set(ops(frozen.graph))
        assert len(frozen.graph.weights) == 1

    def test_a_variable_without_a_value_is_refused(self):
        with tf.init_scope():
            handle = tf.raw_ops.VarHandleOp(
                dtype=tf.float32, shape=[64, 128], shared_name="never assigned"
            )
        with pytest.raises(ModelError, match="a variable of the model has no value"):
            freeze(
                lambda rows: rows @ tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32),
                ROWS,
            )


class TestConstants:
    def test_a_captured_tensor_becomes_a_weight_if_large_and_a_const_if_small(self):
        large, small = tf.random.stateless_normal([64, 128], [1, 2]), tf.ones([128])
        graph = freeze(lambda rows: rows @ large + small, ROWS)
        ((name, weight),) = graph.weights.items()
        assert np.shares_memory(weight.value, np.asarray(memoryview(large)))
        assert (weight.reader.op, weight.reader.name) == ("Identity", name)
        assert weight.reader.input[0] in graph.arguments
        (add,) = nodes(graph, "AddV2")
        const = next(node for node in graph.graph_def.node if node.name == add.input[1])
        assert const.op == "Const"

    def test_a_large_const_is_lifted_and_its_reader_is_the_const(self):
        value = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)
        graph = freeze(lambda rows: rows @ tf.constant(value), ROWS)
        (weight,) = graph.weights.values()
        np.testing.assert_array_equal(weight.value, value)
        assert weight.reader.op == "Const"
        np.testing.assert_array_equal(tf.make_ndarray(weight.reader.attr["value"].tensor), value)
        assert graph.graph_def.ByteSize() < 5000

    def test_a_large_const_of_a_function_called_twice_is_one_array(self):
        value = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32) * 2
        value = np.concatenate([value, value], axis=1)
        layer = tf.function(lambda rows: tf.nn.relu(rows @ tf.constant(value))[:, :64])
        graph = freeze(lambda rows: layer(layer(rows)), ROWS)
        first, second = graph.weights.values()
        assert first.value is second.value
        assert ops(graph).count("MatMul") == 2

    def test_what_folds_to_something_large_is_lifted(self):
        mask = tf.ones([100], tf.int32)
        graph = freeze(lambda rows: rows[:1, :1] + tf.cast(mask[:, None] * mask, tf.float32), ROWS)
        (weight,) = graph.weights.values()
        assert weight.value.shape == (100, 100)

    def test_strings_stay_constants(self):
        words = tf.constant([f"word{index}" for index in range(5000)])
        graph = freeze(lambda index: words[index], tf.TensorSpec([], tf.int32))
        assert not graph.weights


class TestGraphs:
    def test_calls_are_inlined_and_keep_their_names(self):
        layer = tf.function(lambda rows: tf.nn.relu(rows, name="activate"))
        graph = freeze(lambda rows: layer(rows) + 1.0, ROWS)
        assert [node.name for node in nodes(graph, "Relu")] == ["PartitionedCall/activate"]

    def test_devices_stay(self):
        def serve(rows):
            with tf.device("/device:CPU:0"):
                return tf.nn.relu(rows)

        (relu,) = nodes(freeze(serve, ROWS), "Relu")
        assert relu.device.endswith("CPU:0")

    def test_functions_for_xla_are_inlined_too(self):
        layer = tf.function(lambda rows: tf.nn.relu(rows), jit_compile=True)
        graph = freeze(lambda rows: layer(rows) + 1.0, ROWS)
        assert "Relu" in ops(graph)
        assert not graph.bodies

    def test_nodes_that_nothing_needs_are_gone_and_arguments_stay(self):
        unused = variable(64, 128)

        def serve(rows):
            tf.matmul(rows, unused)
            return tf.nn.relu(rows)

        graph = freeze(serve, ROWS)
        assert ops(graph).count("Placeholder") == len(graph.arguments) == 2
        assert "MatMul" not in ops(graph)
        assert not graph.control_results

    def test_nodes_stand_behind_their_inputs_and_every_tensor_has_a_spec(self):
        kernel = variable(64, 128)
        graph = freeze(lambda rows: tf.nn.relu(rows @ kernel), ROWS)
        seen = set()
        for node in graph.graph_def.node:
            assert {node_of(name) for name in data_inputs(node)} <= seen
            seen.add(node.name)
            assert f"{node.name}:0" in graph.tensors
        assert graph.tensors[graph.results[0]].shape.as_list() == [None, 128]

    def test_static_shapes_fold(self):
        graph = freeze(
            lambda image: tf.reshape(image, [-1, tf.reduce_prod(tf.shape(image)[1:])]),
            tf.TensorSpec([2, 4, 4, 3], tf.float32),
        )
        assert "Shape" not in ops(graph)
        assert graph.tensors[graph.results[0]].shape.as_list() == [2, 48]

    def test_fake_quantization_does_not_fold(self):
        graph = freeze(
            lambda rows: rows + tf.quantization.fake_quant_with_min_max_args(tf.ones([64]), -6, 6),
            ROWS,
        )
        assert "FakeQuantWithMinMaxArgs" in ops(graph)


class TestBodies:
    def test_a_loop_and_its_matrices(self):
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

    def test_a_matrix_read_outside_of_the_loop_is_a_weight_inside(self):
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

    def test_what_a_loop_changes_is_no_weight(self):
        kernel = variable(64, 64)

        def serve(rows):
            return tf.while_loop(
                lambda step, *_: step < 3,
                lambda step, state, matrix: (step + 1, state @ matrix, matrix * 0.5),
                [0, rows, kernel.read_value()],
            )[1]

        assert not body(freeze(serve, ROWS), "body").weights

    def test_branches_have_their_weights(self):
        first, second = variable(64, 128, seed=1), variable(64, 128, seed=2)

        def serve(rows):
            return tf.cond(rows[0, 0] > 0, lambda: rows @ first, lambda: rows @ second)

        graph = freeze(serve, ROWS)
        values = [next(iter(item.weights.values())).value for item in graph.bodies.values()]
        assert len(values) == 2
        assert {value.sum() for value in values} == {first.numpy().sum(), second.numpy().sum()}

    def test_cases_have_their_weights(self):
        kernels = [variable(64, 128, seed=seed) for seed in range(3)]
        graph = freeze(
            lambda index, rows: tf.switch_case(index, [lambda k=k: rows @ k for k in kernels]),
            tf.TensorSpec([], tf.int32),
            ROWS,
        )
        assert [len(item.weights) for item in graph.bodies.values()] == [1, 1, 1]

    def test_loops_in_branches_in_loops(self):
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

    def test_one_function_called_twice_has_a_body_for_each_call(self):
        first, second = variable(64, 64, seed=1), variable(64, 64, seed=2)

        @tf.function
        def apply(rows, handle):
            def grow(step, state):
                kernel = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
                return step + 1, state @ tf.ensure_shape(kernel, [64, 64])

            return tf.while_loop(lambda step, _: step < 2, grow, [0, rows])[1]

        graph = freeze(lambda rows: apply(apply(rows, first.handle), second.handle), ROWS)
        loops = [item for name, item in graph.bodies.items() if "body" in name]
        values = [next(iter(loop.weights.values())).value.sum() for loop in loops]
        assert sorted(values) == sorted([first.numpy().sum(), second.numpy().sum()])

    def test_shapes_are_those_of_the_call(self):
        layer = tf.function(
            lambda rows: tf.cond(rows[0, 0] > 0, lambda: rows * 2, lambda: rows + 1),
            input_signature=[tf.TensorSpec(None, tf.float32)],
        )
        graph = freeze(layer, tf.TensorSpec([4, 64], tf.float32))
        (mul,) = nodes(body(graph, "true"), "Mul")
        assert body(graph, "true").tensors[f"{mul.name}:0"].shape.as_list() in ([4, 64], None)

    def test_shapes_of_a_loop_widen_until_they_hold(self):
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

    def test_side_effects_in_bodies_stay(self):
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


def test_random_ops_and_tables_run_on_in_a_frozen_graph():
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], [10, 20]), default_value=-1
    )
    frozen = freeze_function(
        tf.function(lambda words: table.lookup(words)).get_concrete_function(
            tf.TensorSpec([None], tf.string)
        ),
        "main",
    )
    assert "LookupTableFindV2" in ops(frozen.graph)
    assert any(capture is table.resource_handle for capture in frozen.captures.values())


def test_the_whole_is_assembled_again_without_a_change():
    runtime.load_ops()
    kernel, state = variable(64, 64), tf.Variable(1.0)

    @tf.function(input_signature=[ROWS])
    def serve(rows):
        state.assign_add(1.0)
        for _ in tf.range(3):
            rows = tf.tanh(rows @ kernel) * state
        return {"rows": rows, "sum": tf.reduce_sum(rows), "state": state.read_value()}

    frozen = freeze_function(serve.get_concrete_function(), "main")
    converted = assemble_function(frozen, {}, EngineAttributes()).function
    rows = tf.random.stateless_normal([3, 64], [5, 6])
    state.assign(1.0)
    expected = serve(rows)
    state.assign(1.0)
    for key, value in converted(rows).items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-5)
