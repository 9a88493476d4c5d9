"""The toolkit's converter with what only TensorFlow's old API did otherwise."""

from __future__ import annotations

from typing import Any

from tftrt_toolkit.converter import TrtGraphConverterV2
from tftrt_toolkit.validation import Gate


class Converter(TrtGraphConverterV2):
    """The toolkit's converter as `tf.experimental.tensorrt.Converter`.

    `save()` writes over what the directory held, as TensorFlow's did.
    """

    def save(
        self,
        output_saved_model_dir: str,
        save_gpu_specific_engines: bool = True,
        options: Any = None,
        *,
        overwrite: bool = True,
        validate: Gate | None = None,
    ) -> None:
        """As the toolkit's, but an existing model is replaced."""
        super().save(
            output_saved_model_dir,
            save_gpu_specific_engines,
            options,
            overwrite=overwrite,
            validate=validate,
        )
