import pytest

from tests.runtime.engines import new_resource
from tftrt_toolkit import runtime


@pytest.fixture
def resource():
    name = new_resource()
    yield name
    runtime.bind(name, None)
