"""How far rounding alone moves a model's outputs: no FP32 conversion can promise less.

A deep network may amplify the rounding of its first layers a thousandfold. What this one makes of
it is measured: every float32 input and weight moves to a neighbouring float, as if rounded again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np

from tftrt_toolkit.validation.comparison import SignatureComparison
from tftrt_toolkit.validation.deviation import ErrorStream, ErrorSummary
from tftrt_toolkit.validation.models import Runnable
from tftrt_toolkit.validation.tolerances import Tolerance, default_tolerance

_DRAWS = 3
# Original and conversion round independently, so that their difference has twice one's power.
_MARGIN_DB = 3.0
_MARGIN_SCALED = 2.0


def allow_rounding(
    comparison: SignatureComparison,
    original: Runnable,
    inputs: Mapping[str, np.ndarray],
    fixed: Collection[str],
    seed: int,
) -> None:
    """Ask no more of an output that fails than what rounding alone would leave of it.

    inputs: a batch to measure that on. fixed: outputs, or "*", whose limits the user has set.
    """
    result = comparison.result()
    failing = [one for one in result.outputs if one.failures and one.name not in fixed]
    if not failing or "*" in fixed:
        return
    rounding = rounding_errors(original, result.key, inputs, seed)
    for output in failing:
        wider = loosened(output.tolerance, rounding[output.name])
        if wider == output.tolerance:
            continue
        comparison.set_tolerance(output.name, wider)
        comparison.warn(
            f"output {output.name}: rounding the original's weights once more leaves an SNR of "
            f"{rounding[output.name].snr_db:.1f} dB, so only {wider.min_snr_db:.1f} dB are asked "
            "of the conversion"
        )


def rounding_errors(
    model: Runnable, key: str, inputs: Mapping[str, np.ndarray], seed: int
) -> dict[str, ErrorSummary]:
    """Output -> how several runs with nudged inputs and weights differ from the plain one."""
    plain = model.run(key, inputs)
    streams = {name: ErrorStream() for name in plain}
    for draw in range(_DRAWS):
        nudged = model.run_nudged(key, inputs, seed + draw)
        for name, stream in streams.items():
            if nudged[name].shape == plain[name].shape:
                stream.update(plain[name], nudged[name])
    return {name: stream.summary() for name, stream in streams.items()}


def loosened(tolerance: Tolerance, rounding: ErrorSummary) -> Tolerance:
    """The limits, as far below their own as rounding needs, though never below FP16's."""
    floor = default_tolerance("FP16")
    snr_db = max(rounding.snr_db - _MARGIN_DB, floor.min_snr_db)
    scaled = min(rounding.max_scaled * _MARGIN_SCALED, floor.max_scaled)
    return dataclasses.replace(
        tolerance,
        min_snr_db=min(tolerance.min_snr_db, snr_db),
        max_scaled=max(tolerance.max_scaled, scaled),
    )
