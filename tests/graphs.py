"""FrozenGraphs for tests, traced from Python without the freezing stage."""

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from tftrt_toolkit.artifacts import FrozenGraph, TensorSpec, Weight
from tftrt_toolkit.graph import topological


def trace(function, *specs, name="main", weights=()):
    """The frozen graph of `function`; `specs` are (shape, dtype) or TensorSpecs.

    weights: names of Consts that become weights' placeholders.
    """
    signature = [
        spec if isinstance(spec, tf.TensorSpec) else tf.TensorSpec(*spec) for spec in specs
    ]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    return of_graph(
        frozen.graph,
        name,
        [tensor.op.name for tensor in frozen.inputs],
        [tensor.name for tensor in frozen.outputs],
        weights,
    )


def of_graph(graph, name, arguments, results, weights=()):
    """A tf.Graph or FuncGraph as a FrozenGraph, its functions as bodies."""
    graph_def = tf.compat.v1.GraphDef()
    original = graph.as_graph_def()
    graph_def.versions.CopyFrom(original.versions)
    graph_def.library.CopyFrom(original.library)
    found = {}
    for node in topological(original.node):
        copy = graph_def.node.add()
        copy.CopyFrom(node)
        if node.name in weights:
            value = tf.make_ndarray(node.attr["value"].tensor)
            found[node.name] = Weight(value, node)
            copy.Clear()
            copy.name, copy.op = node.name, "Placeholder"
            copy.attr["dtype"].type = node.attr["dtype"].type
            copy.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    bodies = {}
    for function in original.library.function:
        body = function_def_to_graph(function)
        bodies[function.signature.name] = of_graph(
            body,
            function.signature.name,
            [tensor.op.name for tensor in body.inputs],
            [tensor.name for tensor in body.outputs],
        )
    return FrozenGraph(
        name=name,
        graph_def=graph_def,
        arguments=tuple(arguments),
        results=tuple(results),
        control_results=(),
        weights=found,
        tensors={
            tensor.name: TensorSpec(tensor.name, tensor.dtype, tensor.shape)
            for op in graph.get_operations()
            for tensor in op.outputs
        },
        bodies=bodies,
    )
