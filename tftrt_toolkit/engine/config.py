"""What a build is asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.params import DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES, FLAVOURS

# Marks a field that can't change what is built, so it is no part of a cache's key. A field is part
# of the key unless it says otherwise: a new one that is forgotten costs time, never a wrong plan.
_IRRELEVANT = {"in_key": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Settings of one conversion's builds.

    flavour: "tensorrt", "tensorrt_rtx" or "auto".
    compute_capabilities: targets of an ahead-of-time build, e.g. ("8.6", "8.9"); empty: the
      builder's default set.
    workspace_bytes: the most scratch memory that a layer may use.
    optimization_level: 0 to 5, how hard the builder tries; None: its default.
    sparse_weights: let it use kernels for weights of 2:4 structured sparsity.
    tf32: let it compute FP32 products in TF32 on GPUs that have it.
    layer_details: keep the layers' details in the plan, for TensorRT's inspector.
    engine_per_profile: build one engine a profile (static shapes) instead of one for all.
    cache_dir: keep plans here and use them again; None: no cache.
    stream_bytes: with weights of more than this, a plan goes to a file as it is built.
    """

    flavour: str = "auto"
    compute_capabilities: tuple[str, ...] = ()
    workspace_bytes: int = DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES
    optimization_level: int | None = None
    sparse_weights: bool = False
    tf32: bool = True
    layer_details: bool = False
    engine_per_profile: bool = dataclasses.field(default=False, metadata=_IRRELEVANT)
    cache_dir: Path | None = dataclasses.field(default=None, metadata=_IRRELEVANT)
    stream_bytes: int = dataclasses.field(default=256 << 20, metadata=_IRRELEVANT)

    def __post_init__(self) -> None:
        """Refuse what could only fail in the builder."""
        if self.flavour not in FLAVOURS:
            raise InvalidArgumentError(
                f"flavour={self.flavour!r} is not known: use one of {', '.join(FLAVOURS)}"
            )
        if self.workspace_bytes <= 0:
            raise InvalidArgumentError(
                f"workspace_bytes={self.workspace_bytes} must be positive, or left out"
            )
        if self.optimization_level is not None and not 0 <= self.optimization_level <= 5:
            raise InvalidArgumentError(
                f"optimization_level={self.optimization_level} must be from 0 to 5"
            )

    def key_fields(self) -> dict[str, Any]:
        """The fields that change what is built, for a cache's key."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.metadata.get("in_key", True)
        }
