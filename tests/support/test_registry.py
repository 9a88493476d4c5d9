"""The registry as a whole."""

import pytest

from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.export import HANDLED_OPS
from tftrt_toolkit.support.ops import FAMILIES  # noqa: F401  (registers the rules)
from tftrt_toolkit.support.registry import Family, all_rules, find_rule
from tftrt_toolkit.support.table import PATH, support_table
from tftrt_toolkit.support.unsupported import known_refusals
from tftrt_toolkit.support.view import op_def

RULES = list(all_rules())


def test_an_op_has_one_rule():
    with pytest.raises(InternalError, match="op 'Conv2D' is registered twice"):
        Family("another").add("Conv2D")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.op)
def test_a_rule_names_type_attributes_of_its_op(rule):
    definition = op_def(rule.op)
    assert definition is not None, "TensorFlow has no such op"
    types = {attr.name for attr in definition.attr if attr.type in ("type", "list(type)")}
    assert rule.dtypes.keys() <= types
    assert not definition.is_stateful
    assert all(rule.limits)


def test_every_op_has_a_mapping():
    from tf2onnx import tfonnx  # noqa: F401  (registers the handlers)
    from tf2onnx.handler import tf_op

    mapped = tf_op.create_mapping(18, None).keys()
    # tf2onnx's rewriters take these before the mapping starts.
    rewritten = {"Rank", *(f"QuantizeAndDequantizeV{version}" for version in (2, 3, 4))}
    assert {rule.op for rule in RULES} <= mapped | HANDLED_OPS | rewritten


def test_an_op_is_either_convertible_or_always_native():
    assert not [op for op in known_refusals() if find_rule(op) is not None]


def test_reasons_name_ops_that_exist():
    gone = {"For"}
    assert {op for op in known_refusals() if op_def(op) is None} <= gone


def test_the_support_table_is_fresh():
    assert PATH.read_text() == support_table(), "run python -m tftrt_toolkit.support.table"
