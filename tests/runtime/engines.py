"""Small functions with engine ops in them, for the tests of this folder."""

import itertools

import tensorflow as tf

from tftrt_toolkit import runtime
from tftrt_toolkit.runtime import ops

_unique = itertools.count()


def new_resource():
    return f"TRTEngineOp_000_000@test{next(_unique)}"


def stats(resource):
    """The runtime's counters of one resource."""
    return next(one for one in runtime.runtime_stats() if one.resource == resource)


def engine(inputs, function, resource, name="scope/TRTEngineOp_000_000", **attributes):
    """A TRTEngineOp whose native function is `function`, a ConcreteFunction."""
    inputs = [tf.convert_to_tensor(value) for value in inputs]
    return ops.trt_engine_op(
        in_tensor=inputs,
        serialized_segment="",
        OutT=[tensor.dtype for tensor in function.outputs],
        workspace_size_bytes=1 << 20,
        precision_mode="FP32",
        segment_func=function,
        segment_funcdef_name=resource,
        input_shapes=[tensor.shape for tensor in inputs if tensor.dtype != tf.resource],
        output_shapes=[tensor.shape for tensor in function.outputs],
        name=name,
        **attributes,
    )


def double_plus(features=4):
    """A ConcreteFunction: (x: float[?, features], n: int32[]) -> (2 x + n, n + 1)."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, features], tf.float32),
            tf.TensorSpec([], tf.int32),
        ]
    )
    def native_segment(x, n):
        return 2.0 * x + tf.cast(n, tf.float32), n + 1

    return native_segment.get_concrete_function()


def model_of(function, resource, device=None, **attributes):
    """A tf.function that is nothing but one engine, on any device or on the one given."""

    @tf.function(input_signature=function.structured_input_signature[0])
    def model(*inputs):
        with tf.device(device):
            return engine(list(inputs), function, resource, **attributes)

    return model
