"""What is bound to each resource: by `bind`, or by a SavedModel that is being loaded."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from absl import logging

from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import AssetError
from tftrt_toolkit.runtime import bridge
from tftrt_toolkit.runtime.loading import callback, op_library

_lock = threading.Lock()
_assets: dict[str, Path] = {}


def bind(resource_name: str, asset: AssetFile | None) -> None:
    """Choose an executor for a resource from its asset; None: unbind it, it runs natively.

    Stays bound, whatever models are dropped, until it is bound anew. Calls in flight end with the
    executor that they began with. Raises as `load_ops` does.
    """
    with _lock:
        if asset is None:
            _assets.pop(resource_name, None)
        else:
            _assets[resource_name] = asset.path
    op_library().unbind(resource_name)


@callback("initialize")
def _initialize(
    resource: bytes, filename: bytes, _max_cached: int, _message: int, _size: int
) -> int:
    name, path = resource.decode(), Path(os.fsdecode(filename))
    try:
        asset = AssetFile.open(path)
    except AssetError as error:
        logging.warning("%s runs natively: %s", name, error)
        op_library().set_reason(name, str(error))
        return bridge.OK
    with _lock:
        _assets[name] = asset.path
    return bridge.OK


@callback("serialize")
def _serialize(resource: bytes, filename: bytes, message: int, size: int) -> int:
    with _lock:
        path = _assets.get(resource.decode())
    try:
        if path is None:
            raise FileNotFoundError("no asset is bound")
        shutil.copyfile(path, os.fsdecode(filename))
    except OSError as error:
        bridge.write_text(message, size, f"{resource.decode()} can't be serialized: {error}")
        return bridge.FAILED
    return bridge.OK


@callback("dropped")
def _dropped(resource: bytes) -> None:
    with _lock:
        _assets.pop(resource.decode(), None)
