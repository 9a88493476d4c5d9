import gc

import pytest

from tftrt_toolkit.tensorflow_import import collection_paused


@pytest.mark.parametrize("enabled", [True, False])
def test_collection_is_as_before_after_a_pause(enabled):
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with collection_paused():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        gc.enable() if before else gc.disable()


def test_collection_goes_on_after_a_failed_import():
    def broken():
        with collection_paused():
            raise ImportError

    assert gc.isenabled()
    with pytest.raises(ImportError):
        broken()
    assert gc.isenabled()
