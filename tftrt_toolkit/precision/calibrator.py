"""Collects statistics: runs the FP32 model on the CPU and looks at its tensors on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from tftrt_toolkit import onnx_model
from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.background import beside
from tftrt_toolkit.errors import CalibrationError
from tftrt_toolkit.precision.calibration import Calibration
from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.precision.histogram import EMPTY, TensorStatistics, statistics_of
from tftrt_toolkit.precision.prepare import prepare
from tftrt_toolkit.precision.quantize_rules import histogram_tensors

# About so many values are drawn from each sample of a tensor; the greatest is exact.
_DRAWN = 1 << 15
_LIMITERS = {"Relu", "Clip"}
_MOVERS = {
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Expand", "Slice",
    "Split", "MaxPool",
}  # fmt: skip
_PREFIX = "tftrt_calibration"


class Calibrator:
    """Calibrates one segment, batch by batch, in memory that doesn't grow with their number.

        calibrator = Calibrator(onnx)
        calibrator.add((images,))
        calibration = calibrator.result()

    Nothing is kept of a batch but its statistics, and the first few as `kept`.
    """

    def __init__(
        self,
        model: OnnxModel,
        threads: int = 0,
        *,
        kept_bytes: int = 32 << 20,
        ranges_only: bool = False,
    ) -> None:
        """Prepare to run `model`.

        threads: of one operator; 0: as many as cores. kept_bytes: of the batches in `kept`.
        ranges_only: for few runs that tell what would overflow, and no scales: no histograms are
          made, no weights copied and no nodes fused, which makes each run slower.
        """
        prepared = prepare(model)
        self._inputs = list(prepared.proto.graph.input)
        with beside(lambda: prepared.digest) as digest:
            self._observed, self._names, self._counted = _observed(prepared, not ranges_only)
            self._session = onnx_model.to_session(
                self._observed,
                threads=threads,
                weights_as_inputs=ranges_only,
                optimize=not ranges_only,
            )
        self._hash = digest.result()
        self._statistics: dict[str, TensorStatistics] = {}
        self._batches = 0
        self._samples = 0
        self._kept_bytes = kept_bytes
        self.kept: list[tuple[np.ndarray, ...]] = []

    def add(self, inputs: Sequence[np.ndarray]) -> None:
        """Run one batch, inputs in the segment's order, of any size and shape that it takes.

        Raises CalibrationError if inputs don't fit or hold NaN or infinity.
        """
        index = self._batches
        arrays = tuple(np.asarray(array) for array in inputs)
        self._check(arrays, f"calibration batch {index}")
        outputs = onnx_model.run_session(self._session, self._observed, arrays)
        peaks = dict(zip(self._names, outputs, strict=False))
        drawn = dict(zip(self._counted, outputs[len(self._names) :], strict=True))
        samples = max((len(array) for array in arrays if array.ndim), default=1)
        for name, peak in peaks.items():
            found = _by_sample(peak, drawn.get(name), samples)
            self._statistics[name] = self._statistics.get(name, EMPTY) + found
        self._batches += 1
        self._samples += samples
        held = sum(array.nbytes for batch in self.kept for array in batch)
        if held + sum(array.nbytes for array in arrays) <= self._kept_bytes:
            self.kept.append(arrays)

    def result(self) -> Calibration:
        """The statistics so far. Raises CalibrationError if there was no batch."""
        if not self._batches:
            raise CalibrationError(
                "calibration saw no batch: the input function yields nothing, or this segment "
                "isn't reached by what it yields"
            )
        return Calibration(self._hash, self._batches, self._samples, dict(self._statistics))

    def _check(self, arrays: tuple[np.ndarray, ...], what: str) -> None:
        if len(arrays) != len(self._inputs):
            raise CalibrationError(f"{what} has {len(arrays)} inputs, not {len(self._inputs)}")
        for array, value in zip(arrays, self._inputs, strict=True):
            expected = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(expected.elem_type)
            dims = [dim.dim_value or None for dim in expected.shape.dim]
            fits = len(dims) == array.ndim and all(
                dim in (None, size) for dim, size in zip(dims, array.shape, strict=True)
            )
            if array.dtype != dtype or (expected.HasField("shape") and not fits):
                raise CalibrationError(
                    f"{what}: input {value.name!r} is {array.dtype}{list(array.shape)}, "
                    f"but the segment takes {dtype}{dims}"
                )
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise CalibrationError(
                    f"{what}: input {value.name!r} holds NaN or infinity: leave it out"
                )


def _by_sample(peaks: np.ndarray, drawn: np.ndarray | None, samples: int) -> TensorStatistics:
    """Statistics by sample, where the first dimension runs over samples, or parts of them."""
    rows = samples if samples > 1 and len(peaks) % samples == 0 else 1
    values = np.empty(0, np.float32) if drawn is None else drawn.reshape(-1)
    return statistics_of(values, peaks.reshape(rows, -1).max(axis=1, initial=0.0))


def _observed(
    model: OnnxModel, with_histograms: bool = True
) -> tuple[OnnxModel, list[str], list[str]]:
    """The model with observers for outputs; the tensors measured; those of them also counted.

    Behind a tensor comes the greatest |x| of each row, and some of its values, evenly drawn, where
    a histogram is wanted. So no whole tensor leaves ONNX Runtime, which frees each as it goes.
    """
    graph = Graph(model)
    quantizable = histogram_tensors(graph)
    names = [*graph.inputs, *(name for node in graph.nodes for name in node.output)]
    names = [name for name in names if name in quantizable or _tells_more(graph, name)]
    counted = quantizable if with_histograms else set()
    observers = _Observers(graph)
    ends = {name: observers.add(name, name in counted) for name in names}
    graph.outputs = [peak for peak, _ in ends.values()]
    graph.outputs += [drawn for _, drawn in ends.values() if drawn]
    graph.refresh()
    observed = graph.finish()
    del observed.proto.graph.output[:]
    for name in graph.outputs:
        observed.proto.graph.output.append(
            onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        )
    return observed, names, [name for name in names if name in counted]


def _tells_more(graph: Graph, name: str) -> bool:
    """Whether a tensor's range isn't that of another.

    A Relu or Clip tells of what it takes: beyond its own range that makes no difference, and
    kernels fuse the two. Moving values changes no range.
    """
    if graph.dtype(name) != TensorProto.FLOAT or graph.is_constant(name):
        return False
    producer = graph.producers.get(name)
    if graph.shape(name) is None or (producer is not None and producer.op_type in _MOVERS):
        return False
    taker = graph.only_consumer(name)
    return taker is None or taker.op_type not in _LIMITERS


class _Observers:
    """Adds observers to a graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._count = 0
        constants = {"one": [1], "row": [1, -1], "zero": [0], "end": [2**62], "axis": [-2]}
        self._constants = {
            name: graph.add_constant(f"{_PREFIX}/{name}", np.array(value, np.int64))
            for name, value in constants.items()
        }
        self._drawn = graph.add_constant(f"{_PREFIX}/drawn", np.array(_DRAWN, np.int64))

    def add(self, name: str, counted: bool) -> tuple[str, str | None]:
        """Outputs with a tensor's peaks, [rows], and if it is counted with drawn values."""
        graph, constants = self._graph, self._constants
        rank = len(graph.shape(name) or ())
        prefix = f"{_PREFIX}/{self._count}"
        self._count += 1
        nodes: list[onnx.NodeProto] = []

        def node(op: str, inputs: list[str], output: str, **attributes: int) -> str:
            made = graph.make_node(
                op, inputs, f"{prefix}/{output}", TensorProto.FLOAT, **attributes
            )
            nodes.append(made)
            return made.output[0]

        absolute = node("Abs", [name], "abs")
        if rank < 2:
            rows = node("Reshape", [absolute, constants["row"]], "rows")
        else:
            rows = node("Flatten", [absolute], "rows", axis=1)
        peak = node("ReduceMax", [rows, constants["one"]], "peak", keepdims=0)
        drawn = None
        if counted and rank < 3:
            drawn = rows
        elif counted:  # every so many-th line of the last dimension: copied line by line
            width = node("Size", [node("Slice", self._first(absolute), "first")], "width")
            steps = node("Div", [width, self._drawn], "steps")
            step = node("Add", [steps, constants["one"]], "step")
            place = [constants[one] for one in ("zero", "end", "axis")]
            drawn = node("Slice", [absolute, *place, step], "drawn")
        producer = graph.producers.get(name)
        if producer is None:
            graph.nodes[:0] = nodes
        else:
            graph.insert_after(producer, *nodes)
        return peak, drawn

    def _first(self, tensor: str) -> list[str]:
        """Inputs of a Slice that takes the first row."""
        return [tensor, *(self._constants[one] for one in ("zero", "one", "zero"))]
