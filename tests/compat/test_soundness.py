import shutil

import pytest
from damage import TOLD
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


@pytest.mark.parametrize(("damage", "reason"), TOLD)
def test_a_damaged_model_is_refused_in_one_line(damage, reason, tmp_path):
    model = damaged(tmp_path, "static", damage)
    with pytest.raises(ModelError, match=reason) as raised:
        restore_native(model, tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


def test_loops_of_tensorflow_1_are_no_cycles(tmp_path):
    def loop(meta_graph):
        add = meta_graph.graph_def.node.add
        merge = add(name="merge", op="Merge", input=["x", "next"])
        step = add(name="next", op="NextIteration", input=["merge"])
        for node in (merge, step):
            node.attr["T"].type = types_pb2.DT_FLOAT
        merge.attr["N"].i = 2

    restore_native(damaged(tmp_path, "v1_inline_engine", loop), tmp_path / "out")


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("secret")
    model = damaged(tmp_path, "static", lambda _: None)
    (model / "assets" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="is a link"):
        restore_native(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
