"""The stock converter's arguments, taken once for both backends."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import tensorflow as tf

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.params import (
    DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
    ToolkitOptions,
    TrtConversionParams,
    TrtPrecisionMode,
)


@dataclasses.dataclass(frozen=True)
class Request:
    """A conversion as it was asked for; what is None was left to the backend."""

    directory: Path
    tags: Sequence[str] | None
    signature_key: str
    params: TrtConversionParams
    options: ToolkitOptions
    use_dynamic_shape: bool | None
    strategy: str | None


class ConverterBase(abc.ABC):
    """A converter of SavedModels; see TrtGraphConverterV2 for the arguments."""

    backend: ClassVar[str]

    def __init__(
        self,
        input_saved_model_dir: str | None = None,
        input_saved_model_tags: Sequence[str] | None = None,
        input_saved_model_signature_key: str | None = None,
        use_dynamic_shape: bool | None = None,
        dynamic_shape_profile_strategy: str | None = None,
        max_workspace_size_bytes: int = DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
        precision_mode: str = TrtPrecisionMode.FP32,
        minimum_segment_size: int = 3,
        maximum_cached_engines: int = 1,
        use_calibration: bool = True,
        allow_build_at_runtime: bool = True,
        conversion_params: TrtConversionParams | None = None,
        *,
        options: ToolkitOptions | None = None,
        backend: str | None = None,
    ) -> None:
        """Raises InvalidArgumentError for what this backend doesn't take."""
        if backend not in (None, self.backend):
            raise InvalidArgumentError(
                f"backend={backend!r} isn't available with TensorFlow {tf.__version__}: up to 2.17 "
                "there is 'stock', from 2.18 on 'toolkit'; leave backend out"
            )
        if not input_saved_model_dir:
            raise InvalidArgumentError(
                "input_saved_model_dir is missing: give the directory of the SavedModel to convert"
            )
        self._set_up(
            Request(
                directory=Path(input_saved_model_dir),
                tags=input_saved_model_tags,
                signature_key=input_saved_model_signature_key or "serving_default",
                params=conversion_params
                or TrtConversionParams(
                    max_workspace_size_bytes=max_workspace_size_bytes,
                    precision_mode=precision_mode,
                    minimum_segment_size=minimum_segment_size,
                    maximum_cached_engines=maximum_cached_engines,
                    use_calibration=use_calibration,
                    allow_build_at_runtime=allow_build_at_runtime,
                ),
                options=options or ToolkitOptions(),
                use_dynamic_shape=use_dynamic_shape,
                strategy=dynamic_shape_profile_strategy,
            )
        )

    @abc.abstractmethod
    def _set_up(self, request: Request) -> None:
        """Check the request and prepare to convert."""
