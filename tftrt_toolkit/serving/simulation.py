"""Runs pieces on the CPU one behind the other, as Triton will, and compares with the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_toolkit.errors import ConversionError, SessionError
from tftrt_toolkit.onnx_model import run_session, to_session
from tftrt_toolkit.precision import emulate
from tftrt_toolkit.serving.pieces import Piece
from tftrt_toolkit.trials import guessed_batches
from tftrt_toolkit.validation.deviation import is_float, tensor_snr_db
from tftrt_toolkit.validation.emulation import emulated
from tftrt_toolkit.validation.segments import Engine
from tftrt_toolkit.validation.tolerances import default_tolerance

_Arrays = dict[str, np.ndarray]


def run_pieces(pieces: Sequence[Piece], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor that crosses between pieces, and the results; `inputs` by tensor name.

    Raises SessionError where ONNX Runtime can't run a piece on the CPU.
    """
    tensors = dict(inputs)
    for piece in pieces:
        model = emulate(piece.onnx) if piece.asset else piece.onnx.model
        session = to_session(model, optimize=False)
        outputs = run_session(session, model, [tensors[spec.name] for spec in piece.inputs])
        tensors |= {spec.name: value for spec, value in zip(piece.outputs, outputs, strict=True)}
    return tensors


def check_pieces(
    function: Any,
    pieces: Sequence[Piece],
    names: Mapping[str, str],
    engines: Collection[Engine],
) -> bool:
    """Whether all tensors have the same first dimension: that of a batch, as far as a run tells.

    names: tensor -> the signature's input or output. Where the model runs on no made-up input
    nothing is compared. Raises ConversionError unless the pieces give what the converted model
    gives.
    """
    ran = _run_model(function, engines)
    if ran is None:
        return True
    batch, expected = ran
    produced = {spec.name for piece in pieces for spec in piece.outputs}
    inputs = {tensor: batch[name] for tensor, name in names.items() if tensor not in produced}
    try:
        tensors = run_pieces(pieces, inputs)
    except SessionError as error:
        raise ConversionError(
            f"the pieces for Triton don't run in ONNX Runtime ({error}): serve the native form "
            "with export_tf_serving"
        ) from error
    precision = max((piece.onnx.precision for piece in pieces), key=_loss)
    least = default_tolerance(precision).min_snr_db
    for tensor in sorted(produced & names.keys()):
        _check_output(names[tensor], expected[names[tensor]], tensors[tensor], least)
    return len({value.shape[:1] for value in tensors.values()}) == 1


def _run_model(function: Any, engines: Collection[Engine]) -> tuple[_Arrays, _Arrays] | None:
    """A made-up batch that the model runs on and its outputs, by name; None if there is none."""
    with emulated(engines):
        for batch in guessed_batches(function, {}):
            try:
                outputs = function(**batch)
            except tf.errors.OpError:
                continue
            return (
                {name: tensor.numpy() for name, tensor in batch.items()},
                {name: tensor.numpy() for name, tensor in outputs.items()},
            )
    return None


def _loss(precision: str) -> float:
    return -default_tolerance(precision).min_snr_db


def _check_output(name: str, expected: np.ndarray, found: np.ndarray, least: float) -> None:
    if is_float(expected):
        snr = tensor_snr_db(expected, found)
        if snr < least:
            raise ConversionError(
                f"the pieces for Triton give another {name!r} than the model (SNR {snr:.1f} dB): "
                "serve the native form with export_tf_serving, and please report it"
            )
    elif not np.array_equal(expected, found):
        raise ConversionError(
            f"the pieces for Triton give another {name!r} than the model: serve the native form "
            "with export_tf_serving, and please report it"
        )
