"""The order of the rules, from FP32 ONNX to strongly typed ONNX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from tftrt_toolkit.artifacts import Island, OnnxModel, TypedOnnx
from tftrt_toolkit.errors import CalibrationError, InvalidArgumentError
from tftrt_toolkit.params import TrtPrecisionMode
from tftrt_toolkit.precision import int4
from tftrt_toolkit.precision.calibration import Calibration
from tftrt_toolkit.precision.casts import NUMPY, apply_casts
from tftrt_toolkit.precision.fake_quant import absorb_fake_quant, existing_pairs, own_range
from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.precision.islands import find_islands
from tftrt_toolkit.precision.masks import clamp_masks
from tftrt_toolkit.precision.prepare import prepare
from tftrt_toolkit.precision.quantize import insert_pairs
from tftrt_toolkit.precision.quantize_rules import Left, QuantizeOptions, Site, find_sites
from tftrt_toolkit.precision.thresholds import AUTO, DEFAULT, known_calibrator, threshold

QUANTIZED = ("INT8", "FP8")
TYPES = {
    "FP32": TensorProto.FLOAT,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
}
# The opset from which all operators that ever will take the types of a mode.
OPSET = {"INT8": 13, "FP8": 19, "INT4": 21, "BF16": 22}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrecisionOptions:
    """What a user may say about precision.

    keep_fp32: `fnmatch` patterns of ONNX nodes that stay FP32.
    keep_float: patterns of nodes that aren't quantized, but run in FP16 or BF16.
    calibrator: from statistics to thresholds: a name in `thresholds.CALIBRATORS`, or "auto", which
      `search.resolve_calibrator` replaces.
    rest: precision of what isn't quantized: FP16, BF16 or FP32.
    convolutions: quantize convolutions. Say no for TensorRT-RTX, which runs them faster in FP16.
    attention: quantize products of two activations too.
    """

    keep_fp32: tuple[str, ...] = ()
    keep_float: tuple[str, ...] = ()
    calibrator: str = DEFAULT
    rest: str = "FP16"
    convolutions: bool = True
    attention: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        known_calibrator(self.calibrator)
        if self.rest not in ("FP16", "BF16", "FP32"):
            raise InvalidArgumentError(f"rest={self.rest!r} must be FP16, BF16 or FP32")


def apply_precision(
    model: OnnxModel,
    precision: str,
    calibration: Calibration | None = None,
    options: PrecisionOptions | None = None,
) -> TypedOnnx:
    """Write a precision into an FP32 model; inputs and outputs keep their types.

    calibration: of this model; INT8 and FP8 need it, FP16 is the safer for it.
    Raises InvalidArgumentError on an unknown precision or an unresolved "auto", CalibrationError
    if calibration is missing or of another model.
    """
    name = known_precision(precision)
    options = options or PrecisionOptions()
    if name == "FP32":
        return TypedOnnx(model, name)
    prepared = prepare(model)
    if calibration is not None:
        calibration.check_model(prepared.digest)
    rest = options.rest if name in (*QUANTIZED, "INT4") else name
    graph = Graph(prepared)
    # Nodes are told apart by identity from here on, and a new opset makes them anew.
    graph.require_opset(max(OPSET.get(name, 0), OPSET.get(rest, 0)))
    pairs, islands = _quantize(graph, name, calibration, options)
    if rest != "FP32":
        islands += _lower(graph, rest, calibration, options, pairs)
    return TypedOnnx(graph.finish(), name, tuple(islands))


def _quantize(
    graph: Graph, name: str, calibration: Calibration | None, options: PrecisionOptions
) -> tuple[set[int], list[Island]]:
    """Q/DQ for the modes that have them: ids of the nodes around them, and the nodes left out."""
    if name not in (*QUANTIZED, "INT4"):
        return existing_pairs(graph), []
    weight_ranges = absorb_fake_quant(graph) if name == "INT8" else {}
    skip = (*options.keep_float, *options.keep_fp32)
    rules = QuantizeOptions(
        convolutions=options.convolutions and name == "INT8",
        attention=options.attention and name != "INT4",
        skip=skip,
    )
    sites, left = find_sites(graph, rules)
    if name == "INT4":
        pairs = existing_pairs(graph)
        left += int4.quantize_weights(graph, sites, NUMPY[TYPES[options.rest]])
    else:
        pairs, more = _insert_calibrated(
            graph, name, sites, calibration, options.calibrator, weight_ranges
        )
        left += more
        pairs |= existing_pairs(graph)
    return pairs, [
        Island(one.node.name, one.node.op_type, options.rest, one.reason) for one in left
    ]


def _insert_calibrated(
    graph: Graph,
    name: str,
    sites: list[Site],
    calibration: Calibration | None,
    calibrator: str,
    weight_ranges: Mapping[str, np.ndarray],
) -> tuple[set[int], list[Left]]:
    """Pairs around the sites whose ranges are known, from calibration or from the model itself."""
    if calibration is None and not weight_ranges and not existing_pairs(graph):
        raise CalibrationError(
            f"{name} needs calibration: give a function that yields representative batches, a "
            "calibration file, or a model with fake quantization"
        )
    if calibrator == AUTO:
        raise InvalidArgumentError("calibrator 'auto' must be resolved on data first")
    tensors = calibration.tensors if calibration else {}
    known, left = [], []
    for site in sites:
        inputs = [site.node.input[index] for index in site.activations]
        if all(one in tensors or own_range(graph, one) is not None for one in inputs):
            known.append(site)
        else:
            left.append(Left(site.node, "no range is known of what it takes"))

    def limit(tensor: str) -> float:
        own = own_range(graph, tensor)
        return threshold(tensors[tensor], calibrator, name) if own is None else own

    return insert_pairs(graph, known, name, limit, weight_ranges), left


def _lower(
    graph: Graph,
    rest: str,
    calibration: Calibration | None,
    options: PrecisionOptions,
    pairs: set[int],
) -> list[Island]:
    """Casts for all that isn't quantized; the nodes that stay FP32 for a reason."""
    low = TYPES[rest]
    ranges = calibration.ranges() if calibration else {}
    if rest == "FP16":
        for name in clamp_masks(graph):
            ranges.pop(name, None)
    islands = find_islands(graph, low, ranges, options.keep_fp32)
    apply_casts(graph, low, islands.keys() | pairs)
    return [island for node, island in islands.items() if node not in pairs]


def known_precision(precision: str) -> str:
    """The upper-case name of a precision mode. Raises InvalidArgumentError if it isn't one."""
    if precision not in TrtPrecisionMode.supported_precision_modes():
        raise InvalidArgumentError(
            f"precision {precision!r} is not known: use one of "
            + ", ".join(TrtPrecisionMode.supported_precision_modes())
        )
    return precision.upper()
