"""The native form in TensorFlow Serving's layout."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import TrtGraphConverterV2, export_tf_serving
from tftrt_toolkit.errors import InvalidArgumentError, ModelError, OutputExistsError
from tftrt_toolkit.inspection import describe

DIGITS = Path(__file__).resolve().parents[2] / "saved_models" / "digits_cnn"


def test_versions_without_our_ops(tmp_path):
    converter = TrtGraphConverterV2(str(DIGITS), use_dynamic_shape=True)
    converter.convert()
    converter.save(str(tmp_path / "converted"))
    assert describe(tmp_path / "converted")["engine_nodes"]
    base = tmp_path / "models" / "digits"
    written = [
        export_tf_serving(tmp_path / "converted", base),
        export_tf_serving(tmp_path / "converted", base, version=7),
        export_tf_serving(DIGITS, base),
    ]
    assert [path.name for path in written] == ["1", "7", "8"]
    image = tf.constant(np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 8, 8, 1))
    expected = tf.saved_model.load(str(DIGITS)).signatures["serving_default"](image=image)
    for path in written:
        assert not describe(path)["engine_nodes"]
        assert not list(path.glob("assets/trt-*"))
        found = tf.saved_model.load(str(path)).signatures["serving_default"](image=image)
        np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-5, atol=1e-5)
    with pytest.raises(OutputExistsError):
        export_tf_serving(DIGITS, base, version=7)


def test_what_cannot_be_written_says_so(tmp_path):
    with pytest.raises(InvalidArgumentError, match="version=0 must be at least 1"):
        export_tf_serving(DIGITS, tmp_path / "base", version=0)
    with pytest.raises(ModelError, match="no SavedModel"):
        export_tf_serving(tmp_path, tmp_path / "base")
    assert not (tmp_path / "base").exists()
