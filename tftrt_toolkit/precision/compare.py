"""How far a typed model's numbers are from FP32's, on the CPU: as a whole, and tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import onnx
from onnx import TensorProto

from tftrt_toolkit import onnx_model
from tftrt_toolkit.artifacts import OnnxModel, TypedOnnx
from tftrt_toolkit.precision.emulate import emulate
from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.protos import copied

Batch = tuple[np.ndarray, ...]
# From the FP32 outputs and the typed ones, each a list of arrays, to an error; less is better.
Measure = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], float]


def relative_error(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """The worst output's root mean squared error, as a share of its root mean square.

    Infinite where the typed output isn't finite though FP32's is.
    """
    return max((_relative(one, other) for one, other in zip(expected, got, strict=True)), default=0)


def _relative(expected: np.ndarray, got: np.ndarray) -> float:
    a, b = np.asarray(expected, np.float64), np.asarray(got, np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return math.inf
    finite = np.isfinite(a)
    error, size = np.square(a - b)[finite].sum(), np.square(a)[finite].sum()
    return math.sqrt(error / size) if size else (math.inf if error else 0.0)


class Reference:
    """FP32 outputs of some batches, to measure typed models against."""

    def __init__(self, model: OnnxModel, batches: Sequence[Batch], measure: Measure) -> None:
        """Run the FP32 model once on each batch."""
        self.model = model
        self.batches = batches
        self._measure = measure
        self._outputs = list(run(model, batches))

    def error(self, typed: TypedOnnx) -> float:
        """The greatest error of a batch, in emulation."""
        return max(self.errors(typed), default=0.0)

    def errors(self, typed: TypedOnnx) -> list[float]:
        """The error of each batch, in emulation."""
        outputs = run(emulate(typed), self.batches)
        return [self._measure(a, b) for a, b in zip(self._outputs, outputs, strict=True)]

    def sample_errors(self, typed: TypedOnnx) -> list[float]:
        """The relative error of each sample: of each index of the outputs' first dimension."""
        errors = []
        for expected, got in zip(self._outputs, run(emulate(typed), self.batches), strict=True):
            sizes = {len(one) if one.ndim else 0 for one in expected}
            if len(sizes) != 1 or 0 in sizes:
                errors.append(relative_error(expected, got))
                continue
            errors += [
                relative_error([one[index] for one in expected], [one[index] for one in got])
                for index in range(sizes.pop())
            ]
        return errors


def run(model: OnnxModel, batches: Iterable[Batch]) -> Iterable[list[np.ndarray]]:
    """Outputs of each batch, with no optimization that could change a number."""
    session = onnx_model.to_session(model, optimize=False)
    for batch in batches:
        yield onnx_model.run_session(session, model, batch)


def tensor_errors(model: OnnxModel, typed: TypedOnnx, batch: Batch) -> dict[str, float]:
    """Relative error of each float tensor that both models have, on one batch."""
    expected, got = _all_tensors(model, batch), _all_tensors(emulate(typed), batch)
    return {name: _relative(expected[name], got[name]) for name in expected if name in got}


def _all_tensors(model: OnnxModel, batch: Batch) -> dict[str, np.ndarray]:
    graph = Graph(model)
    names = [
        name
        for node in graph.nodes
        for name in node.output
        if graph.dtype(name) == TensorProto.FLOAT and not graph.is_constant(name)
    ]
    proto = copied(model.proto)
    del proto.graph.output[:]
    for name in names:
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    open_model = OnnxModel(proto, model.weights)
    (outputs,) = run(open_model, [batch])
    return dict(zip(names, outputs, strict=True))
