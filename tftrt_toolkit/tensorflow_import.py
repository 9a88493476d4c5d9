"""Imports TensorFlow in less than two thirds of the time that a bare import statement takes."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

_EAGERLY_IMPORTED = "keras.src.optimizers"


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """No garbage collection within: for code that makes many objects, nearly all to stay.

    At the end they count as old: the next collections of young objects don't walk them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:  # else what the program froze would thaw
            gc.freeze()
            gc.unfreeze()
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def keras_deferred() -> Iterator[None]:
    """TensorFlow, imported within, imports Keras when `tf.keras` is first used, and not before.

    Its last act is to import Keras, lest types that Keras registers with SavedModel's loader be
    missing; if it can't, it goes on without. Keras 3 registers none, and takes a third of the
    whole time (more where scikit-learn and matplotlib are there, which it imports). tf_keras,
    which does register some, is imported as ever.
    """
    if _EAGERLY_IMPORTED in sys.modules:
        yield
        return
    sys.modules[_EAGERLY_IMPORTED] = None  # type: ignore[assignment]  # "can't be imported"
    try:
        yield
    finally:
        del sys.modules[_EAGERLY_IMPORTED]


with collection_paused(), keras_deferred():
    import tensorflow  # noqa: F401
