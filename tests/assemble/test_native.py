import numpy as np
import pytest
import tensorflow as tf

from tests.assemble.cutting import cut_ops
from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function
from tftrt_toolkit.assemble.native import native_function
from tftrt_toolkit.freeze import freeze_function

OPS = {"Conv2D", "BiasAdd", "Mul", "AddV2", "Relu"}


class Residual(tf.Module):
    """Sums of more than two tensors, which TensorFlow groups anew where it knows their shapes."""

    def __init__(self):
        random = tf.random.Generator.from_seed(3)
        self.kernels = [tf.Variable(random.normal([3, 3, 64, 64]) / 24) for _ in range(4)]

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 64], tf.float32, "images")])
    def serve(self, images):
        scale, shift = np.linspace(0.5, 1.7, 128, dtype=np.float32).reshape(2, 64)
        for kernel in self.kernels:
            images = images + (tf.nn.conv2d(images, kernel, 1, "SAME") * scale + shift)
        return {"sum": tf.nn.relu(images)}


@pytest.fixture(scope="module")
def module():
    runtime.load_ops()
    return Residual()


@pytest.fixture(scope="module")
def frozen(module):
    return freeze_function(module.serve.get_concrete_function(), "serve")


def test_the_function_knows_the_shapes_of_its_variables(module, frozen):
    segment = cut_ops(frozen.graph, OPS, "TRTEngineOp_000_000")
    function = native_function(frozen.graph, segment, "native", {})
    shapes = [
        [[dim.size for dim in shape.dim] for shape in argument.attr["_handle_shapes"].list.shape]
        for argument in function.arg_attr.values()
    ]
    assert sorted(shapes) == [[], *[[[3, 3, 64, 64]]] * 4]
    assert all(
        list(argument.attr["_handle_dtypes"].list.type) == [tf.float32.as_datatype_enum]
        for argument in function.arg_attr.values()
        if argument.attr["_handle_shapes"].list.shape
    )


def test_sums_are_rounded_as_in_the_original(module, frozen):
    segment = cut_ops(frozen.graph, OPS, "TRTEngineOp_000_000")
    converted = assemble_function(frozen, {frozen.graph.name: [segment]}, EngineAttributes())
    images = tf.random.stateless_normal([2, 8, 8, 64], seed=[1, 2])
    expected = module.serve.get_concrete_function()(images=images)["sum"]
    np.testing.assert_array_equal(converted.function(images=images)["sum"], expected)
