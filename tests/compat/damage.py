"""Ways to damage a converted SavedModel: each changes a MetaGraphDef in place."""

from tensorflow.core.framework import types_pb2


def native(meta_graph):
    """The first native segment."""
    return next(
        function
        for function in meta_graph.graph_def.library.function
        if function.signature.name.endswith("_native_segment")
    )


def engine_node(meta_graph):
    """The first engine, wherever it is."""
    functions = meta_graph.graph_def.library.function
    nodes = [*meta_graph.graph_def.node, *(n for one in functions for n in one.node_def)]
    return next(node for node in nodes if node.op == "TRTEngineOp")


def outside_asset(meta_graph):
    meta_graph.asset_file_def[0].filename = "../../precious"


def absolute_asset(meta_graph):
    meta_graph.asset_file_def[0].filename = "/dev/zero"


def recursive_function(meta_graph):
    function = native(meta_graph)
    call = function.node_def.add(name="again", op="PartitionedCall")
    call.attr["f"].func.name = function.signature.name
    for name in ("Tin", "Tout"):
        call.attr[name].list.SetInParent()


def recursive_engine(meta_graph):
    """The engine's own native segment holds the engine again."""
    again = native(meta_graph).node_def.add()
    again.CopyFrom(engine_node(meta_graph))
    arguments = [argument.name for argument in native(meta_graph).signature.input_arg]
    again.input[:] = arguments[: len(again.input)]
    again.attr["segment_func"].func.name = native(meta_graph).signature.name


def constant_without_value(meta_graph):
    node = meta_graph.graph_def.node.add(name="nothing", op="Const")
    node.attr["dtype"].type = types_pb2.DT_STRING


def missing_function(meta_graph):
    meta_graph.graph_def.library.function.remove(native(meta_graph))


def two_functions_of_one_name(meta_graph):
    meta_graph.graph_def.library.function.add().CopyFrom(native(meta_graph))


def cycle(meta_graph):
    nodes = native(meta_graph).node_def
    nodes[0].input.append(f"^{nodes[1].name}")
    nodes[1].input.append(f"^{nodes[0].name}")


def unknown_input(meta_graph):
    native(meta_graph).node_def[1].input.append("nobody")


def other_dtype(meta_graph):
    native(meta_graph).signature.input_arg[0].type = types_pb2.DT_INT32


def unknown_object(meta_graph):
    meta_graph.object_graph_def.nodes[0].children.add(node_id=999, local_name="child")


def unknown_capture(meta_graph):
    for function in meta_graph.object_graph_def.concrete_functions.values():
        function.bound_inputs.append(-1)


def lost_result(meta_graph):
    native(meta_graph).ret.clear()


def fewer_outputs(meta_graph):
    del engine_node(meta_graph).attr["OutT"].list.type[-1]


def more_outputs(meta_graph):
    engine_node(meta_graph).attr["OutT"].list.type.append(types_pb2.DT_FLOAT)


def odd_attributes(meta_graph):
    attr = engine_node(meta_graph).attr
    attr["max_cached_engines_count"].i = -(2**62)
    attr["workspace_size_bytes"].i = -1
    attr["segment_funcdef_name"].s = b"../../\xff\0escaped@/"
    attr["serialized_segment"].s = b"\xff" * 64


def odd_shapes(meta_graph):
    shapes = engine_node(meta_graph).attr["output_shapes"].list.shape
    for shape in shapes:
        shape.dim.add(size=-(2**62))


# What the checks before a restoration tell, and in which words.
TOLD = [
    (outside_asset, "isn't a plain file name"),
    (absolute_asset, "isn't a plain file name"),
    (recursive_function, "calls itself"),
    (recursive_engine, "calls itself"),
    (constant_without_value, "lacks its attribute 'value'"),
    (missing_function, "isn't in the model"),
    (two_functions_of_one_name, "two functions are called"),
    (cycle, "cycle through node"),
    (unknown_input, "takes 'nobody'"),
    (other_dtype, "disagree about their inputs"),
    (fewer_outputs, "disagree about their inputs' or outputs'"),
    (unknown_object, "refers to an object"),
    (unknown_capture, "captures an object"),
    (lost_result, "doesn't make its result"),
]
ALL = [damage for damage, _ in TOLD] + [more_outputs, odd_attributes, odd_shapes]
