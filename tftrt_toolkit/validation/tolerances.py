"""What still counts as the same model, by precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.validation.agreement import AgreementSummary
from tftrt_toolkit.validation.deviation import ErrorSummary
from tftrt_toolkit.validation.statistics import PairedEstimate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Limits for one output.

    max_scaled: greatest |error| as a share of the output's scale, the greatest |original|.
    min_snr_db: least signal-to-noise ratio.
    min_top1: least share of inputs that get the same first class (classifiers).
    max_mismatch: greatest share of unequal values where the dtype isn't float.
    max_drop: most that accuracy may fall, e.g. 0.01 for one point.
    """

    max_scaled: float
    min_snr_db: float
    min_top1: float
    max_mismatch: float
    max_drop: float

    def __post_init__(self) -> None:
        """Refuse limits that nothing, or everything, would meet."""
        for name in ("max_scaled", "max_mismatch", "max_drop"):
            if not getattr(self, name) >= 0:
                raise InvalidArgumentError(f"{name}={getattr(self, name)} must be 0 or more")
        if not 0 <= self.min_top1 <= 1:
            raise InvalidArgumentError(f"min_top1={self.min_top1} must lie between 0 and 1")

    def changed(self, changes: Mapping[str, float]) -> Tolerance:
        """The same with some limits replaced. Raises InvalidArgumentError for unknown names."""
        known = [field.name for field in dataclasses.fields(self)]
        unknown = sorted(changes.keys() - set(known))
        if unknown:
            raise InvalidArgumentError(
                f"unknown tolerance {unknown[0]!r}: choose from {', '.join(known)}"
            )
        return dataclasses.replace(self, **changes)


# FP32 leaves room for another order of summation and nothing else: a hundredth of one weight
# tensor replaced leaves 92 dB or less on the models that the tests try. Where rounding alone leaves
# less, in networks that amplify it, `rounding.py` lowers the limit. The other rows are what a sound
# conversion of the bundled models and of common CNNs and transformers keeps with some 10 dB to
# spare.
DEFAULT_TOLERANCES: Mapping[str, Tolerance] = {
    "FP32": Tolerance(
        max_scaled=1e-4, min_snr_db=94, min_top1=0.995, max_mismatch=0.0, max_drop=0.001
    ),
    "FP16": Tolerance(
        max_scaled=0.02, min_snr_db=45, min_top1=0.99, max_mismatch=0.01, max_drop=0.003
    ),
    "BF16": Tolerance(
        max_scaled=0.1, min_snr_db=28, min_top1=0.98, max_mismatch=0.02, max_drop=0.005
    ),
    "INT8": Tolerance(
        max_scaled=0.3, min_snr_db=20, min_top1=0.97, max_mismatch=0.03, max_drop=0.01
    ),
    "FP8": Tolerance(
        max_scaled=0.4, min_snr_db=16, min_top1=0.96, max_mismatch=0.04, max_drop=0.01
    ),
    "INT4": Tolerance(
        max_scaled=0.5, min_snr_db=12, min_top1=0.95, max_mismatch=0.05, max_drop=0.02
    ),
}


def default_tolerance(precision: str) -> Tolerance:
    """The limits of a precision. Raises InvalidArgumentError for one that isn't known."""
    if precision.upper() not in DEFAULT_TOLERANCES:
        raise InvalidArgumentError(
            f"no tolerance for precision {precision!r}: use one of {', '.join(DEFAULT_TOLERANCES)}"
        )
    return DEFAULT_TOLERANCES[precision.upper()]


def judge_output(
    errors: ErrorSummary, agreement: AgreementSummary | None, tolerance: Tolerance
) -> tuple[str, ...]:
    """The limits that an output misses, a clause each; empty if it passes."""
    found = []
    if errors.nonfinite:
        found.append(f"{errors.nonfinite} values are NaN or infinite in one model only")
    if errors.max_scaled > tolerance.max_scaled:
        found.append(
            f"the greatest error is {errors.max_scaled:.2g} of the scale, "
            f"more than {tolerance.max_scaled:.2g}"
        )
    if errors.snr_db < tolerance.min_snr_db:
        found.append(f"SNR is {errors.snr_db:.1f} dB, less than {tolerance.min_snr_db:.1f}")
    allowed = tolerance.max_mismatch * errors.elements
    if errors.mismatched > allowed:
        found.append(
            f"{errors.mismatched} of {errors.elements} values differ, "
            f"{100 * tolerance.max_mismatch:.3g} % may"
        )
    if agreement is not None and agreement.top1 < tolerance.min_top1:
        found.append(
            f"the first class agrees on {100 * agreement.top1:.2f} % of inputs, "
            f"less than {100 * tolerance.min_top1:.2f} %"
        )
    return tuple(found)


def judge_drop(
    estimate: PairedEstimate, max_drop: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(failures, warnings) of a metric that should not fall by more than `max_drop`."""
    if -estimate.difference > max_drop:
        return (f"it falls by {-estimate.difference:.4f}, more than {max_drop:.4f}",), ()
    if -estimate.low > max_drop:
        return (), (
            f"{estimate.samples} inputs can't tell whether it falls by more than {max_drop:.4f}: "
            f"the 95 % interval of the difference is {estimate.low:+.4f} to {estimate.high:+.4f}",
        )
    return (), ()
