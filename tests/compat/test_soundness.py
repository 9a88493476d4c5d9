import shutil

import pytest
from stock_models import MODELS
from tensorflow.core.framework import types_pb2

from tftrt_toolkit.compat import restore_native
from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.saved_model import read_saved_model


def damaged(folder, name, damage):
    """A copy of a model whose MetaGraphDef `damage` has changed."""
    shutil.copytree(MODELS / name, folder / "damaged")
    saved_model = read_saved_model(folder / "damaged")
    damage(saved_model.meta_graphs[0])
    (folder / "damaged" / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    return folder / "damaged"


def native(meta_graph):
    return next(
        function
        for function in meta_graph.graph_def.library.function
        if function.signature.name.endswith("_native_segment")
    )


def outside_asset(meta_graph):
    meta_graph.asset_file_def[0].filename = "../../precious"


def recursive_function(meta_graph):
    function = native(meta_graph)
    call = function.node_def.add(name="again", op="PartitionedCall")
    call.attr["f"].func.name = function.signature.name


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


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (outside_asset, "isn't a plain file name"),
        (recursive_function, "calls itself"),
        (missing_function, "isn't in the model"),
        (two_functions_of_one_name, "two functions are called"),
        (cycle, "cycle through node"),
        (unknown_input, "takes 'nobody'"),
        (other_dtype, "disagree about their inputs"),
        (unknown_object, "refers to an object"),
        (unknown_capture, "captures an object"),
        (lost_result, "doesn't make its result"),
    ],
)
def test_a_damaged_model_is_refused_in_one_line(damage, reason, tmp_path):
    model = damaged(tmp_path, "static", damage)
    with pytest.raises(ModelError, match=reason) as raised:
        restore_native(model, tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


def test_loops_of_tensorflow_1_are_no_cycles(tmp_path):
    def loop(meta_graph):
        add = meta_graph.graph_def.node.add
        add(name="merge", op="Merge", input=["x", "next"])
        add(name="next", op="NextIteration", input=["merge"])

    restore_native(damaged(tmp_path, "v1_inline_engine", loop), tmp_path / "out")


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("secret")
    model = damaged(tmp_path, "static", lambda _: None)
    (model / "assets" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="is a link"):
        restore_native(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
