"""`export_tf_serving`: the native form of a converted model, in TensorFlow Serving's layout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tftrt_toolkit.assemble.output import check_output, replaced_directory
from tftrt_toolkit.compat import restore_native
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.inspection import describe


def export_tf_serving(
    saved_model_dir: str | os.PathLike[str],
    base_dir: str | os.PathLike[str],
    *,
    version: int | None = None,
) -> Path:
    """Write a model as `base_dir/<version>`, without engines and TF-TRT's ops; returns that path.

    TensorFlow Serving's own binary has none of these ops, so it serves the native form: the same
    signatures, at TensorFlow's speed. A model that wasn't converted is copied.

    version: None: the one after the greatest that is there. The directory appears whole, so that a
    server that polls `base_dir` never sees a half.

    Raises ModelError if there is no such SavedModel or its native segments were removed;
    InvalidArgumentError for a version below 1; OutputExistsError if the version is there already.
    """
    base = Path(base_dir)
    if version is not None and version < 1:
        raise InvalidArgumentError(f"version={version} must be at least 1")
    if version is None:
        known = [int(one.name) for one in base.glob("*") if one.name.isdigit()]
        version = max(known, default=0) + 1
    target = base / str(version)
    check_output(target, overwrite=False)
    if describe(Path(saved_model_dir))["engine_nodes"]:
        restore_native(saved_model_dir, target)
    else:
        with replaced_directory(target) as fresh:
            shutil.copytree(saved_model_dir, fresh, dirs_exist_ok=True)
    return target
