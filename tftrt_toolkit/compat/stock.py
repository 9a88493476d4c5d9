"""The same converter under TensorFlow up to 2.17: TensorFlow's own does the work.

Added to it: TensorRT is looked for before TensorFlow touches it; `save()` writes beside the target
and keeps every signature; `report()` tells what converted.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import tensorflow as tf

from tftrt_toolkit.assemble.output import check_output, replaced_directory
from tftrt_toolkit.compat.engine_nodes import all_engine_nodes
from tftrt_toolkit.compat.libnvinfer import require_tensorrt
from tftrt_toolkit.errors import ConversionError, InvalidArgumentError, MissingDependencyError
from tftrt_toolkit.params import (
    DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
    ToolkitOptions,
    TrtConversionParams,
    TrtPrecisionMode,
    check_params,
    resolve_strategy,
)
from tftrt_toolkit.tensorflow_version import has_stock_converter
from tftrt_toolkit.version import __version__

_STOCK_MODES = ("FP32", "FP16", "INT8")
_lock = threading.Lock()


class StockConverter:
    """`TrtGraphConverterV2` of TensorFlow up to 2.17; see the toolkit's own for the arguments.

    Raises MissingDependencyError where TensorRT is missing or of another version, and ValueError
    for arguments that TensorFlow's converter doesn't take (`options` among them).
    """

    def __init__(
        self,
        input_saved_model_dir: str | None = None,
        input_saved_model_tags: Sequence[str] | None = None,
        input_saved_model_signature_key: str | None = None,
        use_dynamic_shape: bool | None = None,
        dynamic_shape_profile_strategy: str | None = None,
        max_workspace_size_bytes: int = DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
        precision_mode: str = TrtPrecisionMode.FP32,
        minimum_segment_size: int = 3,
        maximum_cached_engines: int = 1,
        use_calibration: bool = True,
        allow_build_at_runtime: bool = True,
        conversion_params: TrtConversionParams | None = None,
        *,
        options: ToolkitOptions | None = None,
        backend: str | None = None,
    ) -> None:
        require_stock_backend(backend)
        self._params = conversion_params or TrtConversionParams(
            max_workspace_size_bytes=max_workspace_size_bytes,
            precision_mode=precision_mode,
            minimum_segment_size=minimum_segment_size,
            maximum_cached_engines=maximum_cached_engines,
            use_calibration=use_calibration,
            allow_build_at_runtime=allow_build_at_runtime,
        )
        _check(self._params, options)
        if not input_saved_model_dir:
            raise InvalidArgumentError(
                "input_saved_model_dir is missing: give the directory of the SavedModel to convert"
            )
        self._directory = str(input_saved_model_dir)
        self._key = input_saved_model_signature_key or "serving_default"
        require_tensorrt(linked_version())
        strategy = resolve_strategy(dynamic_shape_profile_strategy)
        self._stock = _module().TrtGraphConverterV2(
            input_saved_model_dir=self._directory,
            input_saved_model_tags=input_saved_model_tags,
            input_saved_model_signature_key=self._key,
            use_dynamic_shape=use_dynamic_shape,
            dynamic_shape_profile_strategy=strategy if use_dynamic_shape else None,
            **self._params._asdict(),
        )
        self._saved = False

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
    ) -> None:
        """As TensorFlow's, but whole or not at all, with all of the model's signatures.

        Raises OutputExistsError if the directory isn't empty and `overwrite` isn't set, and
        ConversionError the second time: TensorFlow gives the engines away with the first.
        """
        if self._saved:
            raise ConversionError(
                "TensorFlow's own converter writes its engines once: copy the saved directory"
            )
        output = Path(output_saved_model_dir)
        check_output(output, overwrite)
        with replaced_directory(output) as fresh:
            with self._all_signatures():
                self._stock.save(str(fresh), save_gpu_specific_engines, options)
            extra = fresh / "assets.extra"
            extra.mkdir()
            text = json.dumps(self.report(), indent=2)
            (extra / "tftrt_report.json").write_text(text + "\n", encoding="utf-8")
        self._saved = True

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
        library = {one.signature.name: one for one in graph_def.library.function}
        segments: list[dict[str, Any]] = [
            {"name": engine.name, "op_counts": _op_counts(library.get(engine.function))}
            for engine in all_engine_nodes(graph_def)
        ]
        converted = sum(sum(one["op_counts"].values()) for one in segments)
        native = Counter(node.op for node in graph_def.node if node.op != "TRTEngineOp")
        total = converted + sum(native.values())
        return {
            "backend": "stock",
            "versions": {"tftrt_toolkit": __version__, "tensorflow": tf.__version__},
            "params": self._params._asdict(),
            "signatures": [self._key],
            "segments": segments,
            "native_op_counts": dict(sorted(native.items())),
            "converted_nodes": converted,
            "total_nodes": total,
            "converted_node_fraction": converted / total if total else 0.0,
        }

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


def require_stock_backend(backend: str | None) -> None:
    """Raise InvalidArgumentError unless `backend` is None or "stock"."""
    if backend not in (None, "stock"):
        raise InvalidArgumentError(
            f"backend={backend!r} isn't available with TensorFlow {tf.__version__}, which has only "
            "its own converter, 'stock': use TensorFlow 2.18 or later"
        )


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


def _check(params: TrtConversionParams, options: ToolkitOptions | None) -> None:
    check_params(params)
    if params.precision_mode.upper() not in _STOCK_MODES:
        raise InvalidArgumentError(
            f"precision_mode={params.precision_mode!r} needs TensorFlow 2.18 or later: "
            f"TensorFlow {tf.__version__} takes one of {', '.join(_STOCK_MODES)}"
        )
    if options is not None and options != ToolkitOptions():
        raise InvalidArgumentError(
            f"options need TensorFlow 2.18 or later: TensorFlow {tf.__version__} converts with its "
            "own converter, which has none of them"
        )


def _op_counts(function: Any) -> dict[str, int]:
    return dict(sorted(Counter(node.op for node in function.node_def).items())) if function else {}
