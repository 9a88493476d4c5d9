"""Old models, restored, under the TensorFlow that wrote them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tftrt_toolkit import migrate, restore_native
from tftrt_toolkit.errors import ConversionError

sys.path.insert(0, str(Path(__file__).parents[1] / "compat"))
from stock_models import MODELS, RESTORABLE, assert_same, meta_graph_of, run, run_in_session


@pytest.mark.parametrize("name", RESTORABLE)
def test_they_run(name, tmp_path):
    expected = dict(np.load(MODELS / "expected.npz"))
    restore_native(MODELS / name, tmp_path / "plain")
    assert_same(run(tmp_path / "plain", expected["x"]), expected)
    assert_same(run_in_session(tmp_path / "plain", expected["x"]), expected)


def test_the_committed_models_are_what_the_generator_writes(tmp_path):
    from make_stock_models import main

    from tftrt_toolkit.compat.engine_nodes import all_engine_nodes

    main(tmp_path)

    def shape_of(model):
        return [
            (one.name, one.function, sorted(one.node.attr))
            for one in all_engine_nodes(meta_graph_of(model).graph_def)
        ]

    for name in (*RESTORABLE, "without_native_segments"):
        assert shape_of(tmp_path / name) == shape_of(MODELS / name), name


def test_migrating_needs_a_newer_tensorflow(tmp_path):
    with pytest.raises(ConversionError, match=r"TensorFlow 2\.18"):
        migrate(MODELS / "static", tmp_path / "out")
