"""`enable_tensorflow_api`: the names under which TensorFlow had its converter work again."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import tensorflow as tf
from absl import logging

from tftrt_toolkit import params
from tftrt_toolkit.compat import removed_api
from tftrt_toolkit.tensorflow_version import has_stock_converter

_MODULE = "tensorflow.python.compiler.tensorrt.trt_convert"


def enable_tensorflow_api() -> None:
    """Put the converter where TensorFlow had its own, so that old scripts run unchanged.

    That is `tf.experimental.tensorrt.Converter` and `ConversionParams`, and
    `tensorflow.python.compiler.tensorrt.trt_convert`, changed in place: names that a script bound
    to the module before are good too. Again is harmless. TensorFlow up to 2.17 still has its own,
    which stays.
    """
    if has_stock_converter():
        logging.info("TensorFlow %s has its own converter: nothing to enable", tf.__version__)
        return
    # Not before: an environment for TensorFlow 2.17 needn't have what the converter needs.
    from tftrt_toolkit.compat.tensorflow_converter import Converter

    module = _trt_convert_module()
    module.TrtGraphConverterV2 = Converter  # type: ignore[attr-defined]
    for name, value in _names().items():
        setattr(module, name, value)
    public = _public_module()
    public.Converter = Converter
    public.ConversionParams = params.TrtConversionParams


def _trt_convert_module() -> types.ModuleType:
    """TensorFlow's module, which 2.18 to 2.21 still carry; else a new one in its place."""
    try:
        return importlib.import_module(_MODULE)
    except ImportError:
        logging.info("TensorFlow %s has no %s: making one", tf.__version__, _MODULE)
    return _new_module(_MODULE)


def _public_module() -> Any:
    try:
        return tf.experimental.tensorrt
    except AttributeError:
        tf.experimental.tensorrt = types.ModuleType("tensorflow.experimental.tensorrt")
        return tf.experimental.tensorrt


def _new_module(name: str) -> types.ModuleType:
    """A module of that name, and the packages above it, as far as they aren't there."""
    module = sys.modules[name] = types.ModuleType(name)
    parent, _, leaf = name.rpartition(".")
    try:
        package = importlib.import_module(parent)
    except ImportError:
        package = _new_module(parent)
        package.__path__ = []
    setattr(package, leaf, module)
    return module


def _names() -> dict[str, Any]:
    return {
        "TrtConversionParams": params.TrtConversionParams,
        "TrtPrecisionMode": params.TrtPrecisionMode,
        "DEFAULT_TRT_CONVERSION_PARAMS": params.DEFAULT_TRT_CONVERSION_PARAMS,
        "DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES": params.DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
        "PROFILE_STRATEGY_RANGE": "Range",
        "PROFILE_STRATEGY_OPTIMAL": "Optimal",
        "PROFILE_STRATEGY_RANGE_OPTIMAL": "Range+Optimal",
        "PROFILE_STRATEGY_IMPLICIT_BATCH_MODE_COMPATIBLE": "ImplicitBatchModeCompatible",
        "supported_profile_strategies": lambda: list(params.PROFILE_STRATEGIES),
        "DEFAULT_TRT_PARAMS": params.DEFAULT_TRT_CONVERSION_PARAMS,
        "TrtGraphConverter": removed_api.TrtGraphConverter,
        "create_inference_graph": removed_api.create_inference_graph,
        "get_tensorrt_rewriter_config": removed_api.get_tensorrt_rewriter_config,
    }
