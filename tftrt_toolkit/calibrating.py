"""Where a segment's ranges come from: calibration data, a calibration file, or trial runs."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow as tf
from absl import logging

from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import Sample
from tftrt_toolkit.errors import CalibrationError, InputError, SessionError
from tftrt_toolkit.inputs import DataSource, InputDirectory, batches, signature_specs
from tftrt_toolkit.pipeline import Candidate, ConvertedSignature
from tftrt_toolkit.precision import prepare
from tftrt_toolkit.precision.calibration import Calibration
from tftrt_toolkit.precision.calibrator import Calibrator
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.records import Arrays
from tftrt_toolkit.validation.sources import from_input_directory

DATA, FILE, TRIAL = "data", "file", "trial runs"
_WHAT = "calibration_input_fn"
# Batches kept for what needs data once more, in bytes: of the signature, and of each segment.
_KEPT_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True)
class SegmentRanges:
    """Statistics of one segment. source: DATA, FILE or TRIAL. kept: the first of its batches."""

    calibration: Calibration
    source: str
    kept: tuple[Arrays, ...] = ()


@dataclasses.dataclass(frozen=True)
class CalibrationRun:
    """What one pass over the data gave.

    segments: segment name -> its ranges, for those that the data reached. batches: how many there
    were. kept: the first of them, input name -> tensor.
    """

    segments: Mapping[str, SegmentRanges]
    batches: int
    kept: tuple[dict[str, tf.Tensor], ...]


class _Collector:
    """Feeds one segment's calibrator; the engine op calls it from any of TensorFlow's threads."""

    def __init__(self, candidate: Candidate, kept_bytes: int) -> None:
        self.calibrator = Calibrator(candidate.onnx, kept_bytes=kept_bytes)
        self.calls = 0
        self._lock = threading.Lock()

    def add(self, inputs: Arrays, _outputs: Arrays) -> None:
        with self._lock:
            self.calls += 1
            self.calibrator.add(inputs)


def calibrate(
    signature: ConvertedSignature, source: DataSource, stages: Stages, *, keep_batches: bool = False
) -> CalibrationRun:
    """Run the signature natively on the data, each segment's inputs feeding its calibrator.

    keep_batches: keep each segment's first batches too. Raises InputError or CalibrationError where
    the data doesn't fit.
    """
    resources = signature.converted.resources
    kept_bytes = _KEPT_BYTES if keep_batches else 0
    with stages.stage("calibration", signature.key):
        collectors = {one.segment.name: _Collector(one, kept_bytes) for one in signature.candidates}
        observers = {resources[name]: one.add for name, one in collectors.items()}
        count, kept, held = 0, [], 0
        with runtime.observe(observers):
            for batch in stages.track(data_batches(signature, source, _WHAT), "calibrating"):
                signature.converted.function(**batch)
                count += 1
                held += sum(one.dtype.size * one.shape.num_elements() for one in batch.values())
                if held <= _KEPT_BYTES:
                    kept.append(batch)
        if not count:
            raise InputError(f"{_WHAT} yields nothing: yield at least one representative batch")
        segments = {
            name: SegmentRanges(one.calibrator.result(), DATA, tuple(one.calibrator.kept))
            for name, one in collectors.items()
            if one.calls
        }
        return CalibrationRun(segments, count, tuple(kept))


def data_batches(
    signature: ConvertedSignature, source: DataSource, what: str
) -> Iterator[dict[str, tf.Tensor]]:
    """The batches of an input function, of which errors speak as `what`, or of a directory."""
    specs = signature_specs(signature.converted.function)
    if isinstance(source, str | Path):
        source = InputDirectory(Path(source))
    if isinstance(source, InputDirectory):
        source = (batch.inputs for batch in from_input_directory(source, specs))
    return batches(source, specs, what)


def from_file(
    candidate: Candidate, calibrations: Mapping[str, Calibration], path: Path | str, *, strict: bool
) -> SegmentRanges | None:
    """The calibration of a segment's model, under whatever name the file has it.

    None if the file says nothing of the segment. strict: raise CalibrationError if it has another
    model under the segment's name.
    """
    segment = candidate.segment.name
    digest = prepare(candidate.onnx).digest
    for calibration in calibrations.values():
        if calibration.model == digest:
            return SegmentRanges(calibration, FILE)
    if strict and segment in calibrations:
        raise CalibrationError(
            f"{path} was made from another model, or with other options: its {segment} isn't this "
            "one; calibrate this model anew"
        )
    return None


def from_samples(candidate: Candidate) -> SegmentRanges | None:
    """What a segment's trial runs tell of its ranges; None if there were none, or they can't."""
    samples: list[Sample] = candidate.record.samples
    if not samples:
        return None
    try:
        calibrator = Calibrator(candidate.onnx, kept_bytes=0, ranges_only=True)
        for sample in samples:
            calibrator.add(sample.inputs)
    except (CalibrationError, SessionError) as error:  # an infinite mask, say, from a native node
        logging.info("%s: no ranges from trial runs: %s", candidate.segment.name, error)
        return None
    return SegmentRanges(calibrator.result(), TRIAL)
