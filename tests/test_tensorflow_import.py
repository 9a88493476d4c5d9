import gc
import importlib
import subprocess
import sys

import pytest

from tftrt_toolkit.tensorflow_import import collection_paused, keras_deferred


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


def test_what_was_made_in_a_pause_counts_as_old():
    with collection_paused():
        made = [[] for _ in range(10)]
    young = {id(each) for generation in (0, 1) for each in gc.get_objects(generation)}
    assert not young & {id(each) for each in made}


def test_what_a_program_froze_stays_frozen():
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with collection_paused():
            pass
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()


def test_keras_can_be_imported_after_it_was_deferred(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras.src.optimizers", raising=False)
    with keras_deferred(), pytest.raises(ImportError):
        importlib.import_module("keras.src.optimizers")
    assert importlib.import_module("keras.src.optimizers").Adam


def test_keras_that_is_there_already_stays():
    keras = importlib.import_module("keras.src.optimizers")
    with keras_deferred():
        assert importlib.import_module("keras.src.optimizers") is keras


def test_tensorflow_gets_keras_at_its_first_use():
    code = """
import sys
import tftrt_toolkit
assert not [name for name in sys.modules if name.startswith("keras")]
import tensorflow as tf
assert tf.keras.optimizers.Adam(0.5).learning_rate == 0.5
from tensorflow.keras.layers import Dense
assert Dense is tf.keras.layers.Dense
"""
    subprocess.run([sys.executable, "-c", code], check=True)
