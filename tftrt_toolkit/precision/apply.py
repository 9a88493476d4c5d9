"""The order of the rules, from FP32 ONNX to strongly typed ONNX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from onnx import TensorProto

from tftrt_toolkit.artifacts import OnnxModel, TypedOnnx
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.params import TrtPrecisionMode
from tftrt_toolkit.precision.casts import apply_casts
from tftrt_toolkit.precision.fold import fold_scales
from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.precision.islands import find_islands
from tftrt_toolkit.precision.layer_norm import fuse_layer_norms
from tftrt_toolkit.precision.masks import clamp_masks

# The opset in which every operator takes bfloat16 that ever will.
_BF16_OPSET = 22


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrecisionOptions:
    """What a user may say about precision.

    keep_fp32: `fnmatch` patterns of ONNX nodes that stay FP32.
    """

    keep_fp32: tuple[str, ...] = ()


def prepare(model: OnnxModel) -> OnnxModel:
    """The same FP32 model with scales folded and normalizations fused: what is calibrated."""
    graph = Graph(model)
    fold_scales(graph)
    fuse_layer_norms(graph)
    return graph.finish()


def apply_precision(
    model: OnnxModel,
    precision: str,
    ranges: Mapping[str, float] | None = None,
    options: PrecisionOptions | None = None,
) -> TypedOnnx:
    """Write a precision into an FP32 model; inputs and outputs keep their types.

    ranges: tensor of `prepare(model)` -> the greatest |value| that calibration saw.
    Raises InvalidArgumentError on an unknown precision.
    """
    name = known_precision(precision)
    options = options or PrecisionOptions()
    if name == "FP32":
        return TypedOnnx(model, name)
    graph = Graph(prepare(model))
    low = TensorProto.FLOAT16
    if name == "BF16":
        low = TensorProto.BFLOAT16
        graph.require_opset(_BF16_OPSET)
    else:
        clamp_masks(graph)
    islands = find_islands(graph, low, ranges or {}, options.keep_fp32)
    apply_casts(graph, low, islands.keys())
    return TypedOnnx(graph.finish(), name, tuple(islands.values()))


def known_precision(precision: str) -> str:
    """The upper-case name of a precision mode. Raises InvalidArgumentError if it isn't one."""
    if precision not in TrtPrecisionMode.supported_precision_modes():
        raise InvalidArgumentError(
            f"precision {precision!r} is not known: use one of "
            + ", ".join(TrtPrecisionMode.supported_precision_modes())
        )
    return precision.upper()
