"""Tensors inside an ONNX graph: their values, and which of them come first to go wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx

from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.onnx_model import run_session, to_session
from tftrt_toolkit.protos import copied
from tftrt_toolkit.validation.deviation import is_float, tensor_snr_db

# Bytes of the tensors that are fetched in one run.
_FETCHED_BYTES = 2**28
_FIRST_CHUNK = 8
# Rounding at each precision leaves about so much; better doesn't count as better.
CEILING_DB = {"FP32": 125.0, "FP16": 65.0, "BF16": 48.0, "INT8": 45.0, "FP8": 35.0, "INT4": 35.0}


@dataclasses.dataclass(frozen=True)
class Loss:
    """What is lost at one tensor: the SNR of what it is computed from, and its own."""

    tensor: str
    node: str  # ONNX node of the reference that yields it
    before_db: float
    after_db: float

    @property
    def drop_db(self) -> float:
        """How much is lost here; nothing where it was lost before."""
        if self.before_db == -np.inf:
            return 0.0
        return self.before_db - self.after_db


def tensor_losses(
    reference: OnnxModel, engine: OnnxModel, inputs: Sequence[np.ndarray], precision: str
) -> list[Loss]:
    """The loss at each float tensor that both graphs name, in the engine graph's order.

    reference: the graph in FP32; engine: the graph as it runs (emulated). Both get `inputs`.
    """
    shared = _node_outputs(reference) & _node_outputs(engine)
    order = [name for node in engine.proto.graph.node for name in node.output if name in shared]
    ceiling = CEILING_DB[precision]
    snr: dict[str, float] = {}
    start, chunk = 0, _FIRST_CHUNK
    while start < len(order):
        names = order[start : start + chunk]
        wanted, found = fetch(reference, inputs, names), fetch(engine, inputs, names)
        for name, left, right in zip(names, wanted, found, strict=True):
            if is_float(left) and is_float(right):
                snr[name] = min(tensor_snr_db(left, right), ceiling)
        start += chunk
        size = sum(array.nbytes for array in wanted) / len(names)
        chunk = int(min(max(_FETCHED_BYTES / max(size, 1), 1), 4 * chunk))
    sources = _Sources(engine, snr)
    # In the engine's graph the tensor may come from the Cast that rounds it.
    producers = {name: node.name for node in reference.proto.graph.node for name in node.output}
    return [
        Loss(
            tensor=name,
            node=producers[name],
            before_db=min((snr[source] for source in sources.before(name)), default=ceiling),
            after_db=snr[name],
        )
        for name in order
        if name in snr
    ]


def fetch(model: OnnxModel, inputs: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
    """Values of any tensors of the graph, which runs as it stands. Raises SessionError."""
    proto = copied(model.proto)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    probe = OnnxModel(proto, model.weights)
    return run_session(to_session(probe, weights_as_inputs=True, optimize=False), probe, inputs)


def _node_outputs(model: OnnxModel) -> set[str]:
    return {name for node in model.proto.graph.node for name in node.output if name}


class _Sources:
    """For each measured tensor, the measured tensors that it is computed from."""

    def __init__(self, model: OnnxModel, measured: Mapping[str, float]) -> None:
        self._inputs = {
            name: list(node.input) for node in model.proto.graph.node for name in node.output
        }
        self._measured = measured

    def before(self, name: str) -> Iterator[str]:
        """Walks back through tensors that weren't measured."""
        waiting, seen = list(self._inputs[name]), set()
        while waiting:
            source = waiting.pop()
            if source in seen:
                continue
            seen.add(source)
            if source in self._measured:
                yield source
            else:
                waiting.extend(self._inputs.get(source, ()))


def tensorflow_node(onnx_name: str, known: set[str]) -> str:
    """The TensorFlow node that an ONNX node or tensor is named after; "" if there is none.

    The mapping appends `:0`, `__12`, `_Op__12` and the like.
    """
    name = onnx_name.partition(":")[0]
    while name and name not in known:
        name = name.rpartition("_")[0]
    return name
