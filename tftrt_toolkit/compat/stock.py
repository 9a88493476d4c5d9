"""The same converter under TensorFlow up to 2.17: TensorFlow's own does the work.

Added to it: TensorRT is looked for before TensorFlow touches it; `save()` writes beside the target,
keeps every signature and refuses a model that fails validation; `report()` tells what converted.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import tensorflow as tf

from tftrt_toolkit.assemble.output import check_output, replaced_directory
from tftrt_toolkit.compat.engine_nodes import all_engine_nodes
from tftrt_toolkit.compat.libnvinfer import require_tensorrt
from tftrt_toolkit.converter_base import ConverterBase, Request
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError, MissingDependencyError
from tftrt_toolkit.functions import functions_by_name
from tftrt_toolkit.params import ToolkitOptions, check_params, resolve_strategy
from tftrt_toolkit.tensorflow_version import has_stock_converter
from tftrt_toolkit.validation.gate import Gate, GateResult, judge, refusal
from tftrt_toolkit.version import __version__

_STOCK_MODES = ("FP32", "FP16", "INT8")
_lock = threading.Lock()


class StockConverter(ConverterBase):
    """`TrtGraphConverterV2` of TensorFlow up to 2.17; see the toolkit's own for the arguments.

    Raises MissingDependencyError where TensorRT is missing or of another version, and ValueError
    for arguments that TensorFlow's converter doesn't take (`options` among them).
    """

    backend = "stock"

    def _set_up(self, request: Request) -> None:
        _check(request)
        self._directory, self._key = request.directory, request.signature_key
        self._tags = tuple(request.tags or ("serve",))
        self._params = request.params
        require_tensorrt(linked_version())
        strategy = resolve_strategy(request.strategy)
        self._stock = _module().TrtGraphConverterV2(
            input_saved_model_dir=str(self._directory),
            input_saved_model_tags=request.tags,
            input_saved_model_signature_key=self._key,
            use_dynamic_shape=request.use_dynamic_shape,
            dynamic_shape_profile_strategy=strategy if request.use_dynamic_shape else None,
            **self._params._asdict(),
        )
        self._saved = False
        self._validation: dict[str, Any] = {}

    def convert(self, calibration_input_fn: Callable[[], Any] | None = None) -> Any:
        """As TensorFlow's. Raises MissingDependencyError without a GPU."""
        if not tf.config.list_logical_devices("GPU"):
            raise MissingDependencyError(
                "TensorFlow's own converter needs a GPU and TensorFlow sees none: convert with "
                "TensorFlow 2.18 or later, where this toolkit needs none"
            )
        return self._stock.convert(calibration_input_fn)

    def build(self, input_fn: Callable[[], Any]) -> None:
        """As TensorFlow's."""
        self._stock.build(input_fn)

    def save(
        self,
        output_saved_model_dir: str,
        save_gpu_specific_engines: bool = True,
        options: Any = None,
        *,
        overwrite: bool = False,
        validate: Gate | None = None,
    ) -> None:
        """As TensorFlow's, but whole or not at all, with all of the model's signatures.

        validate: compare the model with the original, and save it only if it passes.

        Raises OutputExistsError if the directory isn't empty and `overwrite` isn't set,
        ValidationError if the model doesn't pass `validate`, and ConversionError the second time:
        TensorFlow gives the engines away with the first.
        """
        if self._saved:
            raise ConversionError(
                "TensorFlow's own converter writes its engines once: copy the saved directory, or "
                "convert again"
            )
        output = Path(output_saved_model_dir)
        check_output(output, overwrite)
        if validate is not None and validate.demote:
            raise InvalidArgumentError(
                "Gate(demote=True) needs TensorFlow 2.18 or later: TensorFlow's own converter "
                "can't take single segments back"
            )
        with replaced_directory(output) as fresh:
            with self._all_signatures():
                self._stock.save(str(fresh), save_gpu_specific_engines, options)
            self._saved = True
            if validate is not None:
                self._pass_gate(validate, fresh)
            extra = fresh / "assets.extra"
            extra.mkdir()
            text = json.dumps(self.report(), indent=2)
            (extra / "tftrt_report.json").write_text(text + "\n", encoding="utf-8")

    def _pass_gate(self, gate: Gate, candidate: Path) -> None:
        result = judge(
            gate.for_tags(self._tags), self._directory, candidate, self._params.precision_mode
        )
        if not result.passed:
            raise refusal(result, "its engines are gone with it: convert again, more precisely")
        self._validation = GateResult(result, {}).to_dict()

    def summary(
        self,
        line_length: int = 160,
        detailed: bool = True,
        print_fn: Callable[[str], Any] | None = None,
    ) -> None:
        """As TensorFlow's."""
        self._stock.summary(line_length, detailed, print_fn)

    def report(self) -> dict[str, Any]:
        """What converted, ready for JSON. Raises RuntimeError before convert()."""
        if not self._stock._converted:
            raise RuntimeError("convert() must be called before report()")
        graph_def = self._stock._converted_graph_def
        library = functions_by_name(graph_def)
        segments: list[dict[str, Any]] = [
            {"name": engine.name, "op_counts": _op_counts(library.get(engine.function))}
            for engine in all_engine_nodes(graph_def)
        ]
        converted = sum(sum(one["op_counts"].values()) for one in segments)
        native = Counter(node.op for node in graph_def.node if node.op != "TRTEngineOp")
        total = converted + sum(native.values())
        found = {
            "backend": self.backend,
            "versions": {"tftrt_toolkit": __version__, "tensorflow": tf.__version__},
            "params": self._params._asdict(),
            "signatures": [self._key],
            "segments": segments,
            "native_op_counts": dict(sorted(native.items())),
            "converted_nodes": converted,
            "total_nodes": total,
            "converted_node_fraction": converted / total if total else 0.0,
        }
        return found | ({"validation": self._validation} if self._validation else {})

    @contextlib.contextmanager
    def _all_signatures(self) -> Iterator[None]:
        """While it is open, what TensorFlow's converter saves gets the other signatures too."""
        model, key = self._stock._saved_model, self._key
        others = {name: one for name, one in model.signatures.items() if name != key}
        original = _module().save.save

        def save(root: Any, directory: str, signatures: Mapping[str, Any], options: Any) -> None:
            if others and root is not model:
                root.unconverted = model  # holds the variables that the others read
            original(root, directory, {**others, **signatures}, options=options)

        # The one seam: the module that it calls `save` in.
        with _lock, mock.patch.object(_module(), "save", _Saver(save)):
            yield


class _Saver:
    """Stands for the module `tensorflow.python.saved_model.save`."""

    def __init__(self, save: Callable[..., None]) -> None:
        self.save = save


def linked_version() -> tuple[int, int, int]:
    """The TensorRT version that this TensorFlow was built with; asking for it is safe."""
    if not has_stock_converter():
        raise InvalidArgumentError(
            f"backend='stock' needs TensorFlow 2.17 or older, this is {tf.__version__}: leave "
            "backend out"
        )
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils

    return tuple(_pywrap_py_utils.get_linked_tensorrt_version())


def _module() -> Any:
    from tensorflow.python.compiler.tensorrt import trt_convert

    return trt_convert


def _check(request: Request) -> None:
    check_params(request.params)
    mode = request.params.precision_mode
    if mode.upper() not in _STOCK_MODES:
        raise InvalidArgumentError(
            f"precision_mode={mode!r} needs TensorFlow 2.18 or later: "
            f"TensorFlow {tf.__version__} takes one of {', '.join(_STOCK_MODES)}"
        )
    if request.options != ToolkitOptions():
        raise InvalidArgumentError(
            f"options need TensorFlow 2.18 or later: TensorFlow {tf.__version__} converts with its "
            "own converter, which has none of them"
        )


def _op_counts(function: Any) -> dict[str, int]:
    return dict(sorted(Counter(node.op for node in function.node_def).items())) if function else {}
