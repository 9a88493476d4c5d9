"""One entry of a manifest's `models`, and the jobs that it stands for, one a precision.

Keys: `saved_model` (the only one required), `name` (default: the directory's), `precision` (one, or
a list), `tags`, `use_dynamic_shape`, `dynamic_shape_profile_strategy`, `memory_gb`,
`timeout_minutes`, `calibration`, `validation`; and those of the tables below, which mean what they
mean for `TrtGraphConverterV2`, `ToolkitOptions` and `ValidationOptions`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tftrt_toolkit.batch.job import Calibration, Job
from tftrt_toolkit.batch.section import (
    Section,
    amount,
    at,
    mapping,
    number,
    pair,
    path_in,
    positive,
    text,
    texts,
    whole,
    yes_no,
)
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.inputs import InputDirectory
from tftrt_toolkit.params import ToolkitOptions, TrtConversionParams
from tftrt_toolkit.settings import Settings
from tftrt_toolkit.shape_ranges import parse_range
from tftrt_toolkit.validation import Gate, ValidationOptions
from tftrt_toolkit.validation.tolerances import default_tolerance

_GIB = 2**30
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_Parsers = Mapping[str, Callable[[Any], Any]]
_PARAMS: _Parsers = {
    "minimum_segment_size": whole,
    "maximum_cached_engines": whole,
    "max_workspace_size_bytes": whole,
    "allow_build_at_runtime": yes_no,
    "use_calibration": yes_no,
}
_OPTIONS: _Parsers = {
    "engine": text,
    "compute_capabilities": texts,
    "native_ops": texts,
    "native_nodes": texts,
    "max_engines": whole,
    "input_shapes": mapping(lambda value: parse_range(text(value))),
    "require_full_conversion": yes_no,
    "signature_keys": texts,
    "check": yes_no,
    "calibrator": text,
    "rest_precision": text,
    "quantize_attention": yes_no,
    "max_error": amount,
    "sparse_weights": yes_no,
    "report_kernels": yes_no,
}
_DATA: _Parsers = {"max_batches": positive, "batch_size": positive, "image_range": pair}
_VALIDATION: _Parsers = {
    **_DATA,
    "precision": text,
    "tolerances": mapping(mapping(number)),
    "main_output": text,
    "classifiers": texts,
    "seed": whole,
    "emulate": yes_no,
}


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What an entry takes from the rest of the manifest; `folder` is where its paths start."""

    folder: Path
    output_dir: Path
    cache_dir: Path
    defaults: Mapping[str, Any]


def jobs_of(index: int, content: Any, around: Surroundings) -> Iterator[Job]:
    """The jobs of the entry at `index`. Raises InvalidArgumentError, which names the entry."""
    label = content.get("name") if isinstance(content, Mapping) else None
    with at(f"models[{index}]" + (f" ({label})" if label else "")):
        Section(content)  # what isn't a mapping is told before the defaults hide it
        yield from _jobs(Section({**around.defaults, **content}), around)


def _jobs(section: Section, around: Surroundings) -> Iterator[Job]:
    saved_model = section.take("saved_model", path_in(around.folder))
    name = section.take("name", text, saved_model.name)
    precisions: Sequence[str] = section.take("precision", texts, ("FP32",))
    job = _job(section, name, saved_model, around)
    calibration = section.take("calibration", _calibration(around.folder), None)
    section.finish()
    if not precisions:
        raise InvalidArgumentError("precision is an empty list: name one, or leave it out")
    for precision in precisions:
        own = name if len(precisions) == 1 else f"{name}_{precision.lower()}"
        params = job.params._replace(precision_mode=precision)
        with at("precision"):
            settings = Settings.resolve(params, job.options, job.use_dynamic_shape, job.strategy)
        if settings.needs_calibration and calibration is None:
            raise InvalidArgumentError(
                f"{settings.precision} needs calibration: add calibration: {{inputs: DIRECTORY}}, "
                "calibration: {file: FILE}, or use_calibration: false"
            )
        yield dataclasses.replace(
            job,
            name=own,
            output=around.output_dir / own,
            params=settings.params,
            calibration=calibration if settings.takes_calibration else None,
        )


def _job(section: Section, name: str, saved_model: Path, around: Surroundings) -> Job:
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"name {name!r} can't be a directory's: use letters, digits, '_', '-' and '.'"
        )
    # Progress goes to the model's log.
    own = section.take_all(_OPTIONS)
    own["precision_file"] = section.take("precision_file", path_in(around.folder), None)
    options = ToolkitOptions(cache_dir=around.cache_dir, show_progress=True, **own)
    memory = section.take("memory_gb", amount, None)
    minutes = section.take("timeout_minutes", amount, None)
    params = TrtConversionParams(**section.take_all(_PARAMS))
    strategy = section.take("dynamic_shape_profile_strategy", text, "Range")
    dynamic = section.take("use_dynamic_shape", yes_no, True)
    with at("settings"):
        Settings.resolve(params, options, dynamic, strategy)
    return Job(
        name=name,
        saved_model=saved_model,
        output=around.output_dir / name,
        params=params,
        options=options,
        tags=section.take("tags", texts, ("serve",)),
        use_dynamic_shape=dynamic,
        strategy=strategy,
        gate=section.take("validation", _gate(around.folder, options.signature_keys), None),
        memory_bytes=None if memory is None else int(memory * _GIB),
        timeout_seconds=None if minutes is None else 60 * minutes,
    )


def _calibration(folder: Path) -> Callable[[Any], Calibration]:
    def read(content: Any) -> Calibration:
        section = Section(content)
        inputs = section.take("inputs", path_in(folder), None)
        file = section.take("file", path_in(folder), None)
        settings = section.take_all(_DATA)
        section.finish()
        if inputs is None and (file is None or settings):
            raise InvalidArgumentError("needs inputs, file, or both")
        data = None if inputs is None else InputDirectory(inputs, **settings)
        return Calibration(data=data, file=file)

    return read


def _gate(folder: Path, signature_keys: Any) -> Callable[[Any], Gate]:
    def read(content: Any) -> Gate:
        section = Section(content)
        inputs = section.take("inputs", path_in(folder), None)
        demote = section.take("demote", yes_no, False)
        keys = tuple(signature_keys or ("serving_default",))
        options = ValidationOptions(signature_keys=keys, **section.take_all(_VALIDATION))
        section.finish()
        for limits in options.tolerances.values():
            with at("tolerances"):
                default_tolerance("FP32").changed(limits)
        # A path, not a function, so that the job can travel to another process.
        return Gate(
            input_fn=None if inputs is None else str(inputs), options=options, demote=demote
        )

    return read
