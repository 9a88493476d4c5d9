import sys

import pytest

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.params import (
    DEFAULT_TRT_CONVERSION_PARAMS,
    Environment,
    ToolkitOptions,
    TrtPrecisionMode,
    resolve_strategy,
)
from tftrt_toolkit.settings import Settings


def settings(params=DEFAULT_TRT_CONVERSION_PARAMS, **options):
    return Settings.resolve(params, ToolkitOptions(**options), None, None)


def test_the_stock_defaults():
    assert (sys.maxsize - 512, "FP32", 3, 1, True, True) == DEFAULT_TRT_CONVERSION_PARAMS
    assert {"FP32", "FP16", "INT8", "fp32", "fp16", "int8"} <= set(
        TrtPrecisionMode.supported_precision_modes()
    )
    resolved = settings()
    assert (resolved.dynamic_shape, resolved.strategy, resolved.max_engines) == (False, "Range", 20)


def test_strategies_in_any_case():
    assert resolve_strategy("range+optimal") == "Range+Optimal"
    assert resolve_strategy(None) == "Range"


@pytest.mark.parametrize(("text", "most"), [("7", 7), ("0", 0), ("-1", 0)])
def test_the_most_engines_come_from_the_environment(monkeypatch, text, most):
    monkeypatch.setenv("TF_TRT_MAX_ALLOWED_ENGINES", text)
    assert settings().max_engines == most
    assert settings(max_engines=3).max_engines == 3


def test_a_bad_environment_is_one_line(monkeypatch):
    monkeypatch.setenv("TF_TRT_MAX_ALLOWED_ENGINES", "many")
    with pytest.raises(InvalidArgumentError, match="TF_TRT_MAX_ALLOWED_ENGINES='many'"):
        Environment.read()


def test_calibration_is_needed_for_int8_only_where_wanted():
    int8 = DEFAULT_TRT_CONVERSION_PARAMS._replace(precision_mode="int8")
    assert settings(int8).needs_calibration
    assert not settings(int8._replace(use_calibration=False)).needs_calibration
    assert not settings().needs_calibration
    assert settings(int8).precision == "INT8"
