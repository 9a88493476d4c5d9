"""These tests run under TensorFlow 2.17.1, in an environment of its own: `make test-tf217`."""

import pytest
import tensorflow as tf

from tftrt_toolkit.compat import stock
from tftrt_toolkit.tensorflow_version import has_stock_converter

HERE = "tests/tf217/"


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.nodeid:
            item.add_marker(pytest.mark.tf217)
            if not has_stock_converter():
                item.add_marker(pytest.mark.skip(reason="needs TensorFlow 2.17: make test-tf217"))


@pytest.fixture
def with_tensorrt(monkeypatch):
    """As if TensorRT and a GPU were there."""
    monkeypatch.setattr(stock, "require_tensorrt", lambda linked: linked)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: ["GPU:0"])


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """A model with two signatures."""
    from make_stock_models import Model

    model, directory = Model(), str(tmp_path_factory.mktemp("model"))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def hidden(x):
        return {"hidden": tf.linalg.matmul(x, model.first)}

    signatures = {"serving_default": model.__call__, "hidden": hidden}
    tf.saved_model.save(model, directory, signatures=signatures)
    return directory
