"""What becomes of one case in the toolkit's chain of stages."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tests.op_matrix import arrays, elementwise, networks
from tests.op_matrix.case import Case
from tests.segments import as_arrays, freeze
from tftrt_toolkit.check import Sample, verify_segment
from tftrt_toolkit.errors import ExportError
from tftrt_toolkit.export import export_segment

CASES: dict[str, Case] = elementwise.CASES | arrays.CASES | networks.CASES


@dataclasses.dataclass(frozen=True)
class Outcome:
    """`status` is "converts", "native" (a stage refuses, which is safe) or "wrong"."""

    status: str
    reason: str = ""


def run_case(example: Case) -> Outcome:
    """Freeze the case's function, map it and compare ONNX Runtime's result with TensorFlow's."""
    graph, segment = freeze(example.function, example.specs)
    try:
        onnx = export_segment(graph, segment)
    except ExportError as error:
        return Outcome("native", error.reason)
    expected = as_arrays(example.function(*map(tf.constant, example.inputs)))
    result = verify_segment(
        graph, segment, onnx, [Sample(example.inputs, tuple(expected))], export_segment
    )
    if result.passed:
        return Outcome("converts")
    return Outcome("wrong" if result.differences else "native", result.reason)
