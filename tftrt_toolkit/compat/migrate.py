"""`migrate`: a model that an older TF-TRT converted, converted anew for today's TensorRT."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_toolkit.assemble.output import check_output
from tftrt_toolkit.compat.restore import restore_native
from tftrt_toolkit.errors import ConversionError
from tftrt_toolkit.tensorflow_version import has_stock_converter


def migrate(
    saved_model_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    **arguments: Any,
) -> Any:
    """Restore the model of `saved_model_dir`, convert it anew and save it to `output_dir`.

    Precision, cached engines and shape strategy are those of the first conversion but for
    `arguments`, which are those of TrtGraphConverterV2. Returns the converter, for its report.

    Raises what `restore_native` and TrtGraphConverterV2 raise; ConversionError under TensorFlow up
    to 2.17, which can't build for today's TensorRT.
    """
    if has_stock_converter():
        raise ConversionError(
            f"TensorFlow {tf.__version__} builds engines for TensorRT 8 only: migrate with "
            "TensorFlow 2.18 or later, or use restore_native"
        )
    from tftrt_toolkit.converter import TrtGraphConverterV2

    output = Path(output_dir)
    check_output(output, overwrite)
    with tempfile.TemporaryDirectory() as scratch:
        restored = restore_native(saved_model_dir, Path(scratch, "restored"))
        parameters = {**restored.parameters, **arguments}
        converter = TrtGraphConverterV2(str(restored.directory), **parameters)
        converter.convert()
        converter.save(str(output), overwrite=overwrite)
    return converter
