"""Models of stock TF-TRT load as they are, once the ops are registered."""

import logging
import shutil

import pytest
import tensorflow as tf
from stock_models import LOADABLE, MODELS, WITH_ASSETS, assert_same, run

from tftrt_toolkit import runtime


@pytest.fixture(scope="module", autouse=True)
def _ops():
    runtime.load_ops()


@pytest.mark.parametrize("name", LOADABLE)
def test_native_segments_run(name, expected):
    assert_same(run(MODELS / name, expected["x"]), expected)


@pytest.mark.parametrize("name", WITH_ASSETS)
def test_each_engine_is_set_aside_in_one_line(name, caplog, tmp_path):
    # A model that the process hasn't loaded from this place before.
    shutil.copytree(MODELS / name, tmp_path / name)
    with caplog.at_level(logging.WARNING, logger="absl"):
        model = tf.saved_model.load(str(tmp_path / name))
    lines = [record.getMessage() for record in caplog.records if "TRTEngineOp" in record.message]
    assert len(lines) == 2
    assert {line.split()[0] for line in lines} == {"TRTEngineOp_000_000", "TRTEngineOp_000_001"}
    assert all("native" in line and "\n" not in line for line in lines)
    del model


def test_engines_inside_the_graph_are_set_aside_in_one_line_each(caplog, expected):
    """TensorFlow 1's static engines: told when they would first run."""
    with caplog.at_level(logging.WARNING, logger="absl"):
        run(MODELS / "v1_inline_engine", expected["x"])
    lines = [record.getMessage() for record in caplog.records if "TRTEngineOp" in record.message]
    assert sorted(line.split()[0] for line in lines) == ["TRTEngineOp_0", "TRTEngineOp_1"]
    assert all("older TensorRT" in line and "\n" not in line for line in lines)


def test_a_model_without_native_segments_says_why_it_cannot_run(expected):
    model = tf.saved_model.load(str(MODELS / "without_native_segments"))
    with pytest.raises(tf.errors.FailedPreconditionError, match="saved without native segments"):
        model.signatures["serving_default"](x=tf.constant(expected["x"]))
