"""A job's own process: convert, validate, save, and say what came of it."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import filelock

from tftrt_toolkit.batch.job import Calibration, Job
from tftrt_toolkit.batch.state import Record, StateDirectory
from tftrt_toolkit.converter import TrtGraphConverterV2
from tftrt_toolkit.errors import InternalError, MissingDependencyError, ToolkitError
from tftrt_toolkit.inputs import InputDirectory
from tftrt_toolkit.progress import peak_rss_bytes
from tftrt_toolkit.saved_model import size_on_disk


def begin_process(log: Path) -> None:
    """Make this process a job's: what it prints goes to its log, and GPUs are shared."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # TensorFlow would take all of a GPU's memory, of which other jobs need some.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def run_job(job: Job, key: str, state: StateDirectory) -> Record:
    """Do the job and keep its record, whose fingerprint is `key`.

    What no toolkit error explains is raised: the process ends, and its log has the traceback.
    """
    with state.only_job(job.name):
        start = time.monotonic()
        record = _attempt(job, key, start)
        state.save(record)
        return record


def _attempt(job: Job, key: str, start: float) -> Record:
    error, final, facts = "", True, {}
    try:
        facts = convert(job)
    except InternalError:
        raise
    except (MissingDependencyError, OSError) as raised:
        # What is missing may be installed, a full or absent disk may be mended; but a
        # ToolkitError that is also an OSError speaks of the model.
        error = _one_line(raised)
        final = isinstance(raised, ToolkitError) and not isinstance(raised, MissingDependencyError)
    except ToolkitError as raised:
        error = _one_line(raised)
    return Record(
        name=job.name,
        fingerprint=key,
        status="failed" if error else "converted",
        final=final,
        error=error,
        seconds=round(time.monotonic() - start, 3),
        peak_rss_bytes=peak_rss_bytes(),
        facts=facts,
    )


def convert(job: Job) -> dict[str, Any]:
    """Convert and save; returns the facts for the report. Raises what the converter raises."""
    calibration = job.calibration or Calibration()
    if calibration.file is None:
        converter = _converter(job, None)
        _convert(converter, calibration.data)
    else:
        converter = _convert_with_file(job, calibration.file, calibration.data)
    converter.save(str(job.output), overwrite=True, validate=job.gate)
    return facts_of(converter.report(), job.output)


def _convert_with_file(job: Job, file: Path, data: InputDirectory | None) -> TrtGraphConverterV2:
    """Take the ranges from the file; write it first, from the data, if it isn't there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(file.with_name(f".{file.name}.lock")):
        if data is not None and not file.exists():
            converter = _converter(job, None)
            _convert(converter, data)
            converter.save_calibration_file(file)
            return converter
    converter = _converter(job, file)
    _convert(converter, None)
    return converter


def _convert(converter: TrtGraphConverterV2, data: InputDirectory | None) -> None:
    converter.convert(data)
    if data is not None and converter.calibration_pending:
        converter.build(data)  # the data tell the shapes too


def _converter(job: Job, calibration_file: Path | None) -> TrtGraphConverterV2:
    return TrtGraphConverterV2(
        input_saved_model_dir=str(job.saved_model),
        input_saved_model_tags=list(job.tags),
        use_dynamic_shape=job.use_dynamic_shape,
        dynamic_shape_profile_strategy=job.strategy,
        conversion_params=job.params,
        options=dataclasses.replace(job.options, calibration_file=calibration_file),
    )


def facts_of(report: dict[str, Any], output: Path) -> dict[str, Any]:
    """What a batch's report tells of a conversion.

    engines; plans; converted_nodes; total_nodes; bytes of the saved model; snr_db, the least of any
    output, and top1, the least agreement of any classifier, where the model was validated.
    """
    facts = {
        "engines": len(report["segments"]),
        "plans": sum(len(segment["plans"]) for segment in report["segments"]),
        "converted_nodes": report["converted_nodes"],
        "total_nodes": report["total_nodes"],
        "bytes": size_on_disk(output),
    }
    signatures = report.get("validation", {}).get("signatures", [])
    outputs = [output for found in signatures for output in found["outputs"]]
    if outputs:
        # The report writes infinity, which JSON has no number for, as text.
        facts["snr_db"] = min((output["errors"]["snr_db"] for output in outputs), key=float)
        agreements = [output["agreement"]["top1"] for output in outputs if output["agreement"]]
        facts |= {"top1": min(agreements)} if agreements else {}
    return facts


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
