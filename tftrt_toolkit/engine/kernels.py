"""Which quantized nodes the builder really gave an INT8 or FP8 kernel.

A Q/DQ pair is a permission, not an order. With detailed layers, the builder tells the layers that
it made of the network in one message; its form isn't promised, so only this report depends on it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from tftrt_toolkit import trt
from tftrt_toolkit.artifacts import ShapeProfile, TypedOnnx
from tftrt_toolkit.engine.build import build_plans
from tftrt_toolkit.engine.config import BuildConfig
from tftrt_toolkit.errors import MissingDependencyError

_QUANTIZED_TYPES = {"Int8", "FP8"}


@dataclasses.dataclass(frozen=True)
class KernelReport:
    """Quantized nodes by what became of them: `reached` an INT8 or FP8 kernel, or `missed` one.

    layers: how many layers the engine has.
    """

    reached: tuple[str, ...]
    missed: tuple[str, ...]
    layers: int


def report_kernels(
    typed: TypedOnnx, segment: str, profiles: Sequence[ShapeProfile], config: BuildConfig
) -> KernelReport:
    """Build the segment, uncached, and read the builder's layers.

    Raises as `build_plans` does.
    """
    found = trt.find(config.flavour)
    if isinstance(found, trt.Unavailable):
        raise MissingDependencyError(f"no engine can be built: {found.reason}")
    detailed = dataclasses.replace(config, layer_details=True, cache_dir=None)
    with found.collect() as messages:
        build_plans(typed, segment, profiles, detailed)
    return read_layers(messages.layers, quantized_nodes(typed))


def quantized_nodes(typed: TypedOnnx) -> tuple[str, ...]:
    """Products and convolutions whose operands all come from DequantizeLinear."""
    nodes = typed.model.proto.graph.node
    made = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    return tuple(
        node.name
        for node in nodes
        if node.op_type in ("Conv", "MatMul", "Gemm") and made.issuperset(node.input[:2])
    )


def read_layers(message: str, quantized: Sequence[str]) -> KernelReport:
    """The report of a message that lists layers, a line each."""
    lines = [line for line in message.splitlines() if line.startswith("Name: ")]
    low: set[str] = set()
    for line in lines:
        inputs = line.partition("Outputs:")[0]
        types = re.findall(r"Datatype: (\w+)", inputs)
        if len(_QUANTIZED_TYPES.intersection(types)) and types[0] in _QUANTIZED_TYPES:
            low.update(re.findall(r"\[ONNX Layer: ([^\]]*)\]", line))
            low.add(re.sub(r"_myl\d+_\d+$", "", line[len("Name: ") :].partition(",")[0]))
    return KernelReport(
        reached=tuple(name for name in quantized if name in low),
        missed=tuple(name for name in quantized if name not in low),
        layers=len(lines),
    )
