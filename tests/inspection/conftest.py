import pytest

from tests.digits import save_several_engines


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    return save_several_engines(tmp_path_factory.mktemp("inspection") / "converted", "FP16")
