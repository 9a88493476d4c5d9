"""What calibration found out about a model, and the file that keeps it.

The file is JSON with one line a tensor: a person can read it, and files of several machines add up.
It holds histograms, not scales, so another calibrator needs no new data.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tftrt_toolkit.errors import CalibrationError
from tftrt_toolkit.files import write_text
from tftrt_toolkit.precision.histogram import BINS, EMPTY, TensorStatistics

_FORMAT = "tftrt_toolkit.calibration"
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Statistics of one segment.

    model: hash of the FP32 model that was run. batches, samples: how much data it saw.
    tensors: tensor name -> statistics; of all float tensors.
    """

    model: str
    batches: int
    samples: int
    tensors: Mapping[str, TensorStatistics]

    def __add__(self, other: Calibration) -> Calibration:
        """Both data sets together. Raises CalibrationError if they are of different models."""
        if self.model != other.model:
            raise CalibrationError(
                f"calibrations of different models don't add up ({self.model[:12]} and "
                f"{other.model[:12]}): calibrate this model anew"
            )
        names = self.tensors.keys() | other.tensors.keys()
        return Calibration(
            model=self.model,
            batches=self.batches + other.batches,
            samples=self.samples + other.samples,
            tensors={
                name: self.tensors.get(name, EMPTY) + other.tensors.get(name, EMPTY)
                for name in sorted(names)
            },
        )

    def ranges(self) -> dict[str, float]:
        """Tensor -> the greatest finite |value| seen."""
        return {name: statistics.amax for name, statistics in self.tensors.items()}

    def check_model(self, model: str) -> None:
        """Raise CalibrationError unless this is of the model with that hash."""
        if self.model != model:
            raise CalibrationError(
                f"the calibration is of another model ({self.model[:12]}, not {model[:12]}): "
                "give a calibration function, or the file that this model wrote"
            )


def save_calibrations(path: Path | str, segments: Mapping[str, Calibration]) -> None:
    """Write the calibrations of a model's segments, whole or not at all."""
    lines = ["{", f' "format": {json.dumps(_FORMAT)}, "version": {_VERSION},', ' "segments": {']
    for index, (name, calibration) in enumerate(sorted(segments.items())):
        head = {"model": calibration.model, "batches": calibration.batches}
        head["samples"] = calibration.samples
        lines.append(f"  {json.dumps(name)}: {json.dumps(head)[:-1]}, " + '"tensors": {')
        tensors = [
            f"   {json.dumps(tensor)}: {json.dumps(_to_json(statistics))}"
            for tensor, statistics in sorted(calibration.tensors.items())
        ]
        lines.append(",\n".join(tensors))
        lines.append("  }}" + ("," if index + 1 < len(segments) else ""))
    lines += [" }", "}", ""]
    write_text(path, "\n".join(lines))


def load_calibrations(path: Path | str) -> dict[str, Calibration]:
    """Read what `save_calibrations` wrote. Raises CalibrationError if it can't be read."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content.get("format") != _FORMAT or content.get("version") != _VERSION:
            raise CalibrationError(f"{path} is not a calibration file that this version can read")
        return {name: _from_json(one) for name, one in content["segments"].items()}
    except OSError as error:
        raise CalibrationError(f"{path} can't be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CalibrationError):
            raise
        raise CalibrationError(
            f"{path} is damaged or no calibration file ({type(error).__name__}: {error})"
        ) from error


def _to_json(statistics: TensorStatistics) -> dict[str, Any]:
    used = int(np.flatnonzero(statistics.counts)[-1]) + 1 if statistics.counts.any() else 0
    peaks = sorted((step, count) for step, count in statistics.peaks.items() if step is not None)
    return {
        "amax": statistics.amax,
        "exponent": statistics.exponent,
        "zero_samples": statistics.peaks.get(None, 0),
        "peaks": peaks,
        "counts": statistics.counts[:used].tolist(),
    }


def _from_json(content: Mapping[str, Any]) -> Calibration:
    return Calibration(
        model=str(content["model"]),
        batches=int(content["batches"]),
        samples=int(content["samples"]),
        tensors={name: _statistics(one) for name, one in content["tensors"].items()},
    )


def _statistics(content: Mapping[str, Any]) -> TensorStatistics:
    counts = np.zeros(BINS, np.int64)
    counts[: len(content["counts"])] = content["counts"]
    peaks: dict[int | None, int] = {int(step): int(count) for step, count in content["peaks"]}
    if content["zero_samples"]:
        peaks[None] = int(content["zero_samples"])
    amax = float(content["amax"])
    if not 0 <= amax < float("inf") or (counts < 0).any():
        raise ValueError("a histogram that can't be")
    return TensorStatistics(counts, int(content["exponent"]), amax, peaks)
