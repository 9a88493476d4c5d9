"""Calibration of a converted signature: its native run feeds each segment's calibrator."""

from __future__ import annotations

import threading

from tftrt_toolkit import runtime
from tftrt_toolkit.errors import InputError
from tftrt_toolkit.inputs import InputFn, batches, signature_specs
from tftrt_toolkit.pipeline import Candidate, ConvertedSignature
from tftrt_toolkit.precision.calibration import Calibration
from tftrt_toolkit.precision.calibrator import Calibrator
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.records import Arrays


class _Collector:
    """Feeds one segment's calibrator; the engine op calls it from any of TensorFlow's threads."""

    def __init__(self, candidate: Candidate) -> None:
        self.calibrator = Calibrator(candidate.onnx)
        self.calls = 0
        self._lock = threading.Lock()

    def add(self, inputs: Arrays, _outputs: Arrays) -> None:
        with self._lock:
            self.calls += 1
            self.calibrator.add(inputs)


def calibrate(
    signature: ConvertedSignature, input_fn: InputFn, stages: Stages
) -> tuple[dict[str, Calibration], int]:
    """Segment name -> its statistics over the data, for those that the data reaches; and batches.

    Raises InputError or CalibrationError where the data doesn't fit.
    """
    resources = signature.converted.resources
    with stages.stage("calibration", signature.key):
        collectors = {one.segment.name: _Collector(one) for one in signature.candidates}
        observers = {resources[name]: one.add for name, one in collectors.items()}
        specs = signature_specs(signature.converted.function)
        count = 0
        with runtime.observe(observers):
            for batch in stages.track(
                batches(input_fn, specs, "calibration_input_fn"), "calibrating"
            ):
                signature.converted.function(**batch)
                count += 1
        if not count:
            raise InputError(
                "calibration_input_fn yields nothing: yield at least one representative batch"
            )
        reached = {name: one for name, one in collectors.items() if one.calls}
        return {name: one.calibrator.result() for name, one in reached.items()}, count
