"""`TensorRTExport`: exports and converts the model that `fit` is training."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from tftrt_toolkit.errors import InvalidArgumentError, ToolkitError, ValidationError, error_line
from tftrt_toolkit.keras.export import Exported, check_outputs, export_with
from tftrt_toolkit.keras.options import ExportOptions

# As in Keras's own callbacks: parts of the names of metrics that are better when greater.
_GREATER_IS_BETTER = ("acc", "auc", "precision", "recall", "f1", "iou")
_LOGGED = ("tftrt_passed", "tftrt_snr_db", "tftrt_top1")


@dataclasses.dataclass(frozen=True)
class ExportAttempt:
    """One export of the callback.

    epoch: counted from 0. exported: None if it failed, then `reason` says why.
    logs: what went into the epoch's logs.
    """

    epoch: int
    exported: Exported | None
    reason: str
    logs: Mapping[str, float]


class TensorRTExport(tf.keras.callbacks.Callback):
    """Exports and converts the model at the end of training, or whenever a metric improves.

    Works with models of Keras 3 and of tf_keras. Each export is compared with the live model, and
    only one that passes replaces what is in `directory`. A conversion that fails never breaks
    training: the reason is logged once. Training waits while a model is converted.

    Logs, for the history and for callbacks that stand behind this one: `tftrt_passed` (1 if the
    converted model passed and was written, 0 if not), `tftrt_snr_db` (of the output that differs
    most, in dB) and `tftrt_top1` (share of inputs with the same first class, of the classifier that
    differs most); NaN where there is no such figure or nothing was exported.

    `attempts` lists every export with its report. Put the callback behind `EarlyStopping`, which
    may restore the best weights when training ends.

    Args:
      directory: where the converted model goes. May hold fields to fill in, as in
        `models/{epoch:02d}-{val_loss:.2f}`, with the epoch counted from 1.
      monitor: name of a metric in the logs: export whenever it improves. None: when training ends.
      mode: "min", "max", or "auto": by the metric's name.
      min_delta: least change that counts as an improvement.
      overwrite: replace what is in `directory` when training starts; False refuses at once. The
        callback's own exports are always replaced.
      arguments: the other fields of `ExportOptions`.

    Raises:
      InvalidArgumentError: an argument can't be used; the message says why.
      OutputExistsError: a directory isn't empty and `overwrite` is False.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        monitor: str | None = None,
        mode: str = "auto",
        min_delta: float = 0.0,
        overwrite: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise InvalidArgumentError(f"mode={mode!r} is not known: use auto, min or max")
        check_outputs(directory, ExportOptions(**arguments, overwrite=overwrite))
        self.attempts: list[ExportAttempt] = []
        self._directory = str(directory)
        self._asked = ExportOptions(**arguments, overwrite=True)
        self._monitor = monitor
        self._sign = 1.0 if mode == "max" or (mode == "auto" and _rises(monitor)) else -1.0
        self._min_delta = abs(min_delta)
        self._best = -math.inf
        self._epoch = 0
        self._told: set[str] = set()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Export if the monitored metric improved."""
        self._epoch = epoch
        if self._monitor is None:
            return
        logs = {} if logs is None else logs
        found = dict.fromkeys(_LOGGED, math.nan)
        if self._improved(self._monitor, logs):
            found = dict(self._export(logs).logs)
        logs.update(found)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Export if nothing is monitored, and add the result to the history."""
        if self._monitor is not None:
            return
        attempt = self._export(logs or {})
        if logs is not None:
            logs.update(attempt.logs)
        history = getattr(self.model, "history", None)
        if history is not None:
            for name, value in attempt.logs.items():
                history.history.setdefault(name, []).append(value)

    def _improved(self, metric: str, logs: Mapping[str, float]) -> bool:
        if metric not in logs:
            self._tell(f"nothing is exported: the logs have no {metric!r}, only {', '.join(logs)}")
            return False
        value = self._sign * float(logs[metric])
        if not value - self._min_delta > self._best:
            return False
        self._best = value
        return True

    def _export(self, logs: Mapping[str, float]) -> ExportAttempt:
        reason, exported, validation = "", None, None
        try:
            fields = {**logs, "epoch": self._epoch + 1}
            exported = export_with(self.model, self._directory.format(**fields), self._asked)
            validation = exported.report.get("validation")
        except ValidationError as error:
            reason = str(error)
            validation = error.report.to_dict() if error.report else None
        except ToolkitError as error:
            reason = str(error)
        except Exception as error:  # whatever it is, hours of training must not end by it
            reason = f"{type(error).__name__}: {error_line(error)}"
        if reason:
            self._tell(f"the model after epoch {self._epoch + 1} isn't exported: {reason}", reason)
        attempt = ExportAttempt(
            self._epoch, exported, reason, _figures(exported is not None, validation)
        )
        self.attempts.append(attempt)
        return attempt

    def _tell(self, message: str, reason: str = "") -> None:
        """Log a warning, the first time that this reason comes up."""
        same = re.sub(r"\S*/\S*|[\d.]+", "", reason or message)  # but for paths and figures
        if same not in self._told:
            self._told.add(same)
            logging.warning("TensorRTExport: %s", message)

    # tf_keras asks its own callbacks these; the answer lets it skip hooks that do nothing.
    def _implements_train_batch_hooks(self) -> bool:
        return False

    def _implements_test_batch_hooks(self) -> bool:
        return False

    def _implements_predict_batch_hooks(self) -> bool:
        return False


def _rises(metric: str | None) -> bool:
    return any(part in (metric or "").lower() for part in _GREATER_IS_BETTER)


def _figures(written: bool, validation: Mapping[str, Any] | None) -> dict[str, float]:
    outputs = [
        output
        for signature in (validation or {}).get("signatures", ())
        for output in signature["outputs"]
    ]
    snr = [float(output["errors"]["snr_db"]) for output in outputs]
    top1 = [output["agreement"]["top1"] for output in outputs if output["agreement"]]
    figures = (float(written), min(snr, default=math.nan), min(top1, default=math.nan))
    return dict(zip(_LOGGED, figures, strict=True))
