"""These tests run under TensorFlow 2.17.1, in an environment of its own: `make test-tf217`."""

import pytest

from tftrt_toolkit.tensorflow_version import has_stock_converter

HERE = "tests/tf217/"


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.nodeid:
            item.add_marker(pytest.mark.tf217)
            if not has_stock_converter():
                item.add_marker(pytest.mark.skip(reason="needs TensorFlow 2.17: make test-tf217"))
