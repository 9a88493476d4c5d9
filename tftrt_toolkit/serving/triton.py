"""`export_triton`: a converted signature as models of a Triton model repository."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tftrt_toolkit import onnx_model
from tftrt_toolkit.artifacts import OnnxModel, TensorSpec
from tftrt_toolkit.assemble.output import check_output, replaced_directory
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError, ModelError
from tftrt_toolkit.freeze import freeze_function, load_model, signature
from tftrt_toolkit.inputs import signature_specs
from tftrt_toolkit.manifest import PlanEntry
from tftrt_toolkit.serving.config import (
    Batching,
    ensemble_config,
    onnx_config,
    plan_config,
    plan_file,
    step,
)
from tftrt_toolkit.serving.pieces import Piece, split, with_names
from tftrt_toolkit.serving.simulation import check_pieces
from tftrt_toolkit.validation.segments import engines_of

FORMS = ("auto", "plan", "onnx")
# What Triton's backends load. TensorRT-RTX's plans are of another kind.
_SERVED_FLAVOUR = "tensorrt"


@dataclasses.dataclass(frozen=True)
class TritonModel:
    """One model of a repository. form: "plan", "onnx" or "ensemble". config: its config.pbtxt."""

    name: str
    form: str
    config: str


@dataclasses.dataclass(frozen=True)
class _Served:
    """A signature ready to be written.

    inputs, outputs: under the signature's names. names: tensor -> the signature's name for it.
    """

    name: str
    pieces: Sequence[Piece]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    names: Mapping[str, str]


def export_triton(
    saved_model_dir: str | os.PathLike[str],
    repository: str | os.PathLike[str],
    name: str,
    *,
    signature_key: str = "serving_default",
    form: str = "auto",
    max_batch_size: int | None = None,
    dynamic_batching: bool = False,
    version: int = 1,
    tags: Sequence[str] = ("serve",),
    overwrite: bool = False,
) -> tuple[TritonModel, ...]:
    """Write a converted model's signature into a Triton model repository as model `name`.

    Where one engine holds the whole model, `name` is that engine. Else `name` is an ensemble of its
    engines and, as ONNX, of what TensorFlow runs between them, in models `name_<piece>`. Inputs and
    outputs bear the signature's names: a plan, whose names are fixed, gets an ensemble around it.

    All is run on the CPU first, piece by piece, and compared with the converted model.

    Args:
      form: of engines. "plan": Triton's TensorRT backend loads the TensorRT plan, which must be
        there (TensorRT-RTX's plans are none); with plans for several GPUs it takes the one that
        fits. "onnx": its ONNX Runtime backend runs the typed ONNX. "auto": plans where there are.
      max_batch_size: batches up to this, the first dimension being the batch of every tensor; 0:
        clients give whole shapes. None: what the plans were built for if every tensor has a batch.
      dynamic_batching: let Triton join requests; only for models that treat rows independently.
      version: the directory's number.
      overwrite: replace models of these names.

    Raises:
      ModelError: there is no such model or signature, or it wasn't converted.
      ConversionError: a part can't be served by Triton; the message names it.
      InvalidArgumentError: an argument can't be used.
      OutputExistsError: a model is there already and `overwrite` is False.
    """
    if form not in FORMS:
        raise InvalidArgumentError(f"form={form!r} is not known: use one of {', '.join(FORMS)}")
    if name in ("", ".", "..") or "/" in name:
        raise InvalidArgumentError(
            f"name={name!r} can't be a directory's in the repository: leave '/' and '..' out"
        )
    for option, value, least in (("version", version, 1), ("max_batch_size", max_batch_size, 0)):
        if value is not None and value < least:
            raise InvalidArgumentError(f"{option}={value} must be at least {least}")
    directory = Path(saved_model_dir)
    model = load_model(directory, tags, [signature_key])
    engines = engines_of(directory, tags)
    if not engines:
        raise ModelError(f"{directory} has no engines: convert it with convert_saved_model first")
    function = signature(model, signature_key)
    frozen = freeze_function(function, signature_key)
    assets = {base: found.asset for base, found in engines.items() if found.asset is not None}
    pieces = split(frozen, assets)
    served = _served(name, function, frozen.graph.arguments, frozen.graph.results, pieces)
    same_batch = check_pieces(function, pieces, served.names, engines.values())
    batching = Batching(_batch_limit(pieces, max_batch_size, same_batch), dynamic_batching)
    written = list(_models(served, form, batching))
    for one, _, _ in written:
        check_output(Path(repository, one.name), overwrite)
    for one, piece, plans in written:
        _write(Path(repository, one.name), one, piece, plans, version)
    return tuple(one for one, _, _ in written)


def _served(
    name: str,
    function: Any,
    arguments: Sequence[str],
    results: Sequence[str],
    pieces: Sequence[Piece],
) -> _Served:
    """Name the tensors that come in and go out. Inputs that nothing takes are left out."""
    taken = {spec.name for piece in pieces for spec in piece.inputs}
    inputs = {
        f"{argument}:0": TensorSpec(key, spec.dtype, spec.shape)
        for argument, (key, spec) in zip(arguments, signature_specs(function).items(), strict=False)
        if f"{argument}:0" in taken
    }
    made = {spec.name: spec for piece in pieces for spec in piece.outputs}
    outputs: dict[str, TensorSpec] = {}
    for key, tensor in zip(sorted(function.structured_outputs), results, strict=True):
        if tensor not in made or tensor in outputs:
            raise ConversionError(
                f"output {key!r} is an input, or another output under a second name, which a "
                "Triton ensemble can't express: leave it out of the signature"
            )
        outputs[tensor] = dataclasses.replace(made[tensor], name=key)
    names = {tensor: spec.name for tensor, spec in (inputs | outputs).items()}
    return _Served(name, pieces, tuple(inputs.values()), tuple(outputs.values()), names)


def _batch_limit(pieces: Sequence[Piece], asked: int | None, same_batch: bool) -> int:
    """max_batch_size: what was asked for, else what all plans were built for; 0: none.

    same_batch: the first dimension of all tensors was the same in a run.
    """
    specs = [spec for piece in pieces for spec in (*piece.inputs, *piece.outputs)]
    odd = [spec for spec in specs if not spec.shape.rank or spec.shape[0] is not None]
    if asked and (odd or not same_batch):
        where = f": {odd[0].name} ({odd[0].shape}) has none" if odd else ", and some have another"
        raise InvalidArgumentError(
            f"max_batch_size={asked} needs a batch as the first dimension of every tensor{where}; "
            "export with max_batch_size=0"
        )
    if odd or not same_batch or asked is not None:
        return asked or 0
    limits = [
        max(
            (shapes.max[0] for plan in piece.asset.plans for profile in plan.profiles
             for shapes in profile.shapes.values()),
            default=0,
        )
        for piece in pieces
        if piece.asset is not None
    ]  # fmt: skip
    return min(limits, default=0)


_Written = tuple[TritonModel, Piece | None, Sequence[PlanEntry]]


def _models(served: _Served, form: str, batching: Batching) -> Iterator[_Written]:
    """The repository's models with what they hold; the ensemble, which needs the others, last."""
    plans = {piece.name: _plans(piece, form) for piece in served.pieces}
    if len(served.pieces) == 1 and not any(plans.values()):
        piece = with_names(served.pieces[0], served.names)
        config = onnx_config(served.name, piece, batching)
        yield TritonModel(served.name, "onnx", config), piece, ()
        return
    steps = []
    for piece in served.pieces:
        name, found = f"{served.name}_{piece.name}", plans[piece.name]
        if found:
            config = plan_config(name, piece, found, batching)
        else:
            config = onnx_config(name, piece, batching)
        yield TritonModel(name, "plan" if found else "onnx", config), piece, found
        steps.append(step(name, piece, served.names))
    config = ensemble_config(served.name, served.inputs, served.outputs, steps, batching)
    yield TritonModel(served.name, "ensemble", config), None, ()


def _plans(piece: Piece, form: str) -> Sequence[PlanEntry]:
    """The plans that Triton loads, one a GPU; none where the piece is served as ONNX."""
    if piece.asset is None or form == "onnx":
        return ()
    plans = [plan for plan in piece.asset.plans if plan.flavour == _SERVED_FLAVOUR]
    one_a_target = len({plan.targets for plan in plans}) == len(plans)
    if form == "plan" and not plans:
        others = {plan.flavour for plan in piece.asset.plans}
        raise ConversionError(
            f"{piece.asset.segment} has no plan of TensorRT, which Triton loads "
            f"({', '.join(others) or 'none'} was built): build_engines --engine=tensorrt on the "
            "target machine adds one, or export with form='onnx'"
        )
    if form == "plan" and not one_a_target:
        raise ConversionError(
            f"{piece.asset.segment} has a plan for each shape, and Triton loads one: convert with "
            "use_dynamic_shape=True, or export with form='onnx'"
        )
    return plans if one_a_target else ()


def _write(
    directory: Path,
    model: TritonModel,
    piece: Piece | None,
    plans: Sequence[PlanEntry],
    version: int,
) -> None:
    with replaced_directory(directory) as fresh:
        (fresh / "config.pbtxt").write_text(model.config)
        place = fresh / str(version)
        place.mkdir()
        if piece is None:
            return
        for plan in plans:
            assert piece.asset is not None
            (place / plan_file(plan)).write_bytes(piece.asset.read_plan(plan))
        if not plans:
            _write_onnx(piece.onnx.model, place)


def _write_onnx(model: OnnxModel, place: Path) -> None:
    """One file, or, beyond what one may hold, a directory of that name, as Triton wants it."""
    try:
        (place / "model.onnx").write_bytes(onnx_model.to_proto(model).SerializeToString())
    except ConversionError:
        onnx_model.save(model, place / "model.onnx")
