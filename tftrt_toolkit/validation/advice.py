"""What helps a segment whose engine loses too much: its nodes are tried in higher precision."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from tftrt_toolkit.artifacts import OnnxModel, Sample
from tftrt_toolkit.onnx_model import run_session, to_session
from tftrt_toolkit.validation.deviation import snr_of_each
from tftrt_toolkit.validation.onnx_tensors import CEILING_DB
from tftrt_toolkit.validation.result import Finding
from tftrt_toolkit.validation.trials import unrounded, wrong_weights

_WORTHWHILE_DB = 3.0
# Two outputs that agree so well are the same, whatever the precision.
_SAME_DB = 20.0
# What many nodes lose together, below what one does.
_USUAL_LOSS_DB = 15.0
_UNEXPLAINED = "no node's precision explains it: the engine's graph isn't what the original gives"
_QUANTIZED = ("INT8", "FP8", "INT4")


@dataclasses.dataclass(frozen=True)
class Graphs:
    """A segment's ONNX in FP32, and the same as its engine has it, emulated."""

    reference: OnnxModel
    engine: OnnxModel


def advised(
    finding: Finding,
    graphs: Graphs,
    sample: Sample,
    nodes: Sequence[str],
    precision: str,
    min_snr_db: float,
) -> Finding:
    """The finding with what to do: the worst nodes are tried in higher precision, alone, then more.

    nodes: ONNX nodes, the worst first. min_snr_db: what is enough.
    """
    fault = _fault(graphs, sample, nodes[:1], precision)
    if fault or precision == "FP32":
        advice = f"{fault or _UNEXPLAINED}; convert the original again"
        return dataclasses.replace(finding, advice=advice)
    higher = "FP16" if precision in _QUANTIZED else "FP32"
    base = finding.segment.rpartition("/")[2]
    worthwhile = max(finding.snr_db, 0.0) + _WORTHWHILE_DB

    def tried(kept: Sequence[str]) -> float:
        trial = unrounded(graphs.engine, graphs.reference, kept, results=higher == "FP32")
        return _snr_db(trial, sample)

    kept, snr = nodes, -math.inf
    for count in range(1, len(nodes) + 1):
        kept = nodes[:count]
        snr = tried(kept)
        if snr >= min_snr_db:
            break
    if snr > worthwhile:
        change = f"SNR {_db(finding.snr_db)} -> {_db(snr)} dB"
        return dataclasses.replace(
            finding,
            advice=f"keep {', '.join(kept)} in {higher}: {change} (emulated)",
            precision_line="\n".join(f"{base}  {node}  {higher}  # {change}" for node in kept),
        )
    if finding.snr_db >= CEILING_DB[precision] - _USUAL_LOSS_DB:
        return dataclasses.replace(
            finding,
            advice=f"{_db(finding.snr_db)} dB is what {precision} gives where nothing is wrong: "
            f"allow for it in the tolerances, or keep all of it in {higher}",
            precision_line=f"{base}  *  {higher}",
        )
    return dataclasses.replace(finding, advice=f"{_UNEXPLAINED}; convert the original again")


def _fault(graphs: Graphs, sample: Sample, nodes: Sequence[str], precision: str) -> str:
    """What no precision does: outputs in another order, or a node's weight of other values."""
    results = _outputs(graphs.engine, sample)
    for (first, left), (second, right) in itertools.combinations(enumerate(sample.outputs), 2):
        swapped = snr_of_each([left, right], [results[second], results[first]])
        as_they_are = snr_of_each([left, right], [results[first], results[second]])
        if min(swapped) > _SAME_DB > max(as_they_are):
            return f"its outputs {first} and {second} are swapped"
    for node in nodes:
        wrong = wrong_weights(graphs.engine, graphs.reference, node, precision, sample.inputs)
        if wrong:
            return f"{wrong[0]} isn't the original's weight"
    return ""


def _outputs(model: OnnxModel, sample: Sample) -> list[np.ndarray]:
    session = to_session(model, weights_as_inputs=True, optimize=False)
    return run_session(session, model, sample.inputs)


def _snr_db(model: OnnxModel, sample: Sample) -> float:
    return min(snr_of_each(sample.outputs, _outputs(model, sample)))


def _db(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else str(value)
