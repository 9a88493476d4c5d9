"""The gate: a converted model that misses its tolerances isn't saved."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from tftrt_toolkit.errors import InvalidArgumentError, ValidationError
from tftrt_toolkit.validation.options import ValidationOptions
from tftrt_toolkit.validation.result import Finding, ValidationReport
from tftrt_toolkit.validation.text import format_db, verdict_line
from tftrt_toolkit.validation.validate import validate

_MAX_ROUNDS = 4
_DEMOTED = 3  # segments a round


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gate:
    """What `converter.save(..., validate=Gate(...))` holds a model to.

    input_fn, options: as for `validate`; an input function must give its batches anew each time.
    original: what to compare with instead of the SavedModel that was converted, such as the live
      function that it was exported from.
    demote: segments that lose too much go back to TensorFlow and the model is tried again; the
      report names them. False: a model that fails isn't saved.
    """

    input_fn: Any = None
    options: ValidationOptions = dataclasses.field(default_factory=ValidationOptions)
    demote: bool = False
    original: Any = None

    def __post_init__(self) -> None:
        """Refuse what could only be used up by the first of several validations, or can't blame."""
        if hasattr(self.input_fn, "__next__"):
            raise InvalidArgumentError(
                "the gate's input_fn is an iterator, which can be read only once: give a function "
                "that makes one, or a list"
            )
        if self.original is not None and (self.demote or self.options.blame):
            raise InvalidArgumentError(
                "demote and blame need a SavedModel to compare with: leave the gate's original out"
            )

    def for_tags(self, tags: Iterable[str]) -> Gate:
        """The same for models whose meta graphs have these tags."""
        return dataclasses.replace(
            self, options=dataclasses.replace(self.options, tags=tuple(tags))
        )


@dataclasses.dataclass(frozen=True)
class GateResult:
    """The last validation, and the segments that were demoted on the way, with their reasons."""

    report: ValidationReport
    demoted: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For the conversion's report."""
        return {"demoted": dict(self.demoted)} | self.report.to_dict()


def pass_gate(
    gate: Gate,
    original: Path,
    precision: str,
    beside: Path,
    save: Callable[[Path], None],
    demote: Callable[[Mapping[str, str]], None],
) -> GateResult:
    """Save to a scratch directory in `beside`, validate, demote if allowed, until it passes.

    save: writes the model as it now is. demote: takes segment name -> reason and converts again.
    Raises ValidationError if the model doesn't pass.
    """
    demoted: dict[str, str] = {}
    for _ in range(_MAX_ROUNDS):
        with tempfile.TemporaryDirectory(prefix=".validate_", dir=beside) as scratch:
            save(Path(scratch) / "model")
            report = judge(gate, original, Path(scratch) / "model", precision)
        if report.passed:
            return GateResult(report, demoted)
        guilty = _guilty(report) if gate.demote else {}
        if not guilty:
            break
        for name, reason in guilty.items():
            logging.warning("%s goes back to TensorFlow: %s", name, reason)
        demoted |= guilty
        demote(guilty)
    hint = "change its precision or keep the blamed nodes native (blame=True names them)"
    if gate.demote:
        hint = "no segment of it is to blame" if not demoted else "demoting segments wasn't enough"
    raise refusal(report, hint)


def judge(gate: Gate, original: Path, candidate: Path, precision: str) -> ValidationReport:
    """One validation as the gate wants it; `precision` holds unless the gate names one."""
    options = dataclasses.replace(
        gate.options,
        precision=gate.options.precision or precision,
        blame=gate.demote or gate.options.blame,
    )
    live = gate.original is not None
    reference = gate.original if live else original
    report = validate(reference, candidate, gate.input_fn, options=options)
    # The candidate's directory is gone when the report is read.
    name = "the live model" if live else report.original
    return dataclasses.replace(report, original=name, converted="the converted model")


def refusal(report: ValidationReport, hint: str) -> ValidationError:
    """The error for a model that isn't saved; `hint` says what to do."""
    return ValidationError(f"not saved: {verdict_line(report)}; {hint}", report)


def _guilty(report: ValidationReport) -> dict[str, str]:
    """The segments that add most error in their engines, and why."""
    limits = [
        output.tolerance.min_snr_db for result in report.signatures for output in result.outputs
    ]
    return {
        finding.segment: _reason(finding)
        for finding in report.findings[:_DEMOTED]
        if finding.source == "engine" and finding.snr_db < max(limits)
    }


def _reason(finding: Finding) -> str:
    at = f" at {finding.node}" if finding.node else ""
    return f"validation: its engine has an SNR of {format_db(finding.snr_db)} dB{at}"
