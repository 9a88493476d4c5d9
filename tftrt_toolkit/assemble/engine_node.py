"""The TRTEngineOp node of a segment, with the stock op's attributes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tftrt_toolkit.artifacts import EngineAttributes, FrozenGraph, Segment
from tftrt_toolkit.assemble.native import weight_arguments


def engine_node(
    graph: FrozenGraph,
    segment: Segment,
    function: Any,
    resource: str,
    attributes: EngineAttributes,
) -> Any:
    """A TRTEngineOp NodeDef for a segment.

    Inputs are the segment's, then the captured tensors and handles that its weights are read
    from; `input_shapes` and `output_shapes` list the segment's own, so its length tells the two
    kinds apart. In a saved model the engine's resource stands for the handles
    (`engine_variables`). `segment_func` is `function` (a FunctionDef), and `segment_funcdef_name`
    the resource that engines are bound to.
    """
    node = tf.compat.v1.NodeDef(name=segment.name, op="TRTEngineOp")
    node.device = _device(graph, segment)
    node.input.extend(spec.name for spec in segment.inputs)
    node.input.extend(f"{argument}:0" for argument in weight_arguments(graph, segment))
    node.input.extend(f"^{name}" for name in segment.control_inputs)
    attr = node.attr
    attr["segment_func"].func.name = function.signature.name
    attr["InT"].list.type.extend(item.type for item in function.signature.input_arg)
    # A function has int32 on the host, also on a GPU; TensorFlow would wait for the GPU to copy it.
    attr["_input_hostmem"].list.i.extend(
        index
        for index, item in enumerate(function.signature.input_arg)
        if item.type == tf.int32.as_datatype_enum
    )
    attr["OutT"].list.type.extend(item.type for item in function.signature.output_arg)
    for name, specs in (("input_shapes", segment.inputs), ("output_shapes", segment.outputs)):
        attr[name].list.shape.extend(spec.shape.as_proto() for spec in specs)
    # What TensorFlow's loader takes static shapes from.
    attr["_output_shapes"].list.shape.extend(spec.shape.as_proto() for spec in segment.outputs)
    attr["segment_funcdef_name"].s = resource.encode()
    attr["serialized_segment"].s = b""
    attr["precision_mode"].s = attributes.precision_mode.encode()
    attr["workspace_size_bytes"].i = attributes.workspace_size_bytes
    attr["max_cached_engines_count"].i = attributes.max_cached_engines_count
    attr["use_calibration"].b = attributes.use_calibration
    attr["profile_strategy"].s = attributes.profile_strategy.encode()
    attr["use_explicit_precision"].b = attributes.use_explicit_precision
    attr["static_engine"].b = False
    attr["_use_implicit_batch"].b = not attributes.dynamic_shape
    attr["_allow_build_at_runtime"].b = attributes.allow_build_at_runtime
    return node


def _device(graph: FrozenGraph, segment: Segment) -> str:
    """The device that all of the segment's nodes are on, or none in particular."""
    inside = set(segment.nodes)
    devices = {
        node.device
        for node in graph.graph_def.node
        if node.name in inside and node.op != "Const" and node.name not in graph.weights
    }
    return devices.pop() if len(devices) == 1 else ""
