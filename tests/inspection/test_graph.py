from tensorflow.core.protobuf import meta_graph_pb2

from tftrt_toolkit.inspection.graph import condensed_graphs
from tftrt_toolkit.inspection.picture import layout


def meta_graph(nodes, function="converted"):
    """nodes: name -> (op, inputs), in any order."""
    result = meta_graph_pb2.MetaGraphDef()
    added = result.graph_def.library.function.add()
    added.signature.name = function
    for name, (op, inputs) in nodes.items():
        added.node_def.add(name=name, op=op, input=inputs)
    return result


def blocks(nodes):
    return condensed_graphs(meta_graph(nodes))["converted"]


def test_native_nodes_between_engines_are_one_block():
    found = blocks(
        {
            "second": ("TRTEngineOp", ["b:y:0", "first:out_tensor:0"]),
            "b": ("Softmax", ["a:y:0"]),
            "a": ("Neg", ["first:out_tensor:0"]),
            "first": ("TRTEngineOp", ["x"]),
        }
    )
    assert [(block.kind, block.label, block.inputs) for block in found] == [
        ("engine", "first", ()),
        ("native", "2 native", (0,)),
        ("engine", "second", (0, 1)),
    ]
    assert found[1].op_counts == {"Softmax": 1, "Neg": 1}


def test_a_shared_constant_does_not_tie_native_blocks_together():
    found = blocks(
        {
            "c": ("Const", []),
            "left": ("Neg", ["x", "c:output:0"]),
            "right": ("Abs", ["x", "c:output:0"]),
            "engine": ("TRTEngineOp", ["left:y:0", "right:y:0"]),
        }
    )
    assert [block.kind for block in found] == ["native", "native", "engine"]
    assert found[2].inputs == (0, 1)


def test_nodes_behind_an_engine_are_no_part_of_the_block_before_it():
    found = blocks(
        {
            "before": ("Neg", ["x"]),
            "engine": ("TRTEngineOp", ["before:y:0"]),
            "behind": ("AddV2", ["before:y:0", "engine:out_tensor:0"]),
        }
    )
    assert [block.inputs for block in found] == [(), (0,), (0, 1)]


def test_a_loop_of_tf1_is_cut_and_ends():
    found = blocks(
        {
            "merge": ("Merge", ["x", "next:output:0"]),
            "engine": ("TRTEngineOp", ["merge:output:0"]),
            "next": ("NextIteration", ["engine:out_tensor:0"]),
        }
    )
    assert {block.label for block in found} == {"1 native", "engine"}
    assert all(source < index for index, block in enumerate(found) for source in block.inputs)


def test_functions_without_engines_and_native_segments_are_left_out():
    plain = meta_graph({"a": ("Neg", ["x"])})
    assert condensed_graphs(plain) == {}
    native = meta_graph({"a": ("TRTEngineOp", ["x"])}, "TRTEngineOp_000_000_native_segment")
    assert condensed_graphs(native) == {}


def test_layout_puts_each_block_behind_those_that_feed_it():
    found = blocks(
        {
            "first": ("TRTEngineOp", ["x"]),
            "a": ("Neg", ["first:out_tensor:0"]),
            "b": ("Abs", ["first:out_tensor:0"]),
            "second": ("TRTEngineOp", ["a:y:0", "b:y:0"]),
        }
    )
    assert layout(found) == [(0, 0.5), (1, 0.0), (1, 1.0), (2, 0.5)]
