"""Writes `docs/op_support.md` from the registry: `python -m tftrt_toolkit.support.table`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from tftrt_toolkit.support import ops  # noqa: F401  (registers the rules)
from tftrt_toolkit.support.dtypes import names
from tftrt_toolkit.support.registry import OpRule, all_rules
from tftrt_toolkit.support.unsupported import known_refusals

PATH = Path(__file__).parents[2] / "docs" / "op_support.md"

_HEAD = """\
# Which TensorFlow ops run in an engine

Generated from the registry in `tftrt_toolkit/support/ops` by
`python -m tftrt_toolkit.support.table` (`make docs`); a test fails when this page is stale.

An op is here because tf2onnx 1.17 or a handler of ours maps it, its ONNX agreed with TensorFlow in
ONNX Runtime on the CPU, and TensorRT-RTX 1.7 built it, for a target GPU but without one: nothing
on this page was executed by TensorRT. Dtypes are those of the op's type attributes, one line each
where they differ; an attribute that isn't named is free. Every tensor must have a known rank of at
most 8. Constants are what freezing leaves as constants; "depends on shapes and constants only"
allows `tf.shape(x)[0] * 2` but nothing that looks at values. Unless `use_dynamic_shape` is set,
nodes whose data has a rank below 2 or a dynamic dimension other than the first stay native too.
"""

_NATIVE = """\
## Always native

These have a reason of their own. An op in no table stays native because it has no mapping to ONNX
that was found right, has state, or takes strings, resources, variants, complex numbers, float64 or
bfloat16.

| Reason | Ops |
|---|---|
"""


def support_table() -> str:
    """The page, as Markdown."""
    lines = [_HEAD]
    for family, rules in groupby(all_rules(), key=lambda rule: rule.family):
        lines += [f"## {family}\n", "| Op | Dtypes | Converts if |", "|---|---|---|"]
        lines += [*map(_row, rules), ""]
    lines.append(_NATIVE.rstrip("\n"))
    lines += _native_rows()
    return "\n".join(lines) + "\n"


def _row(rule: OpRule) -> str:
    if len(rule.dtypes) == 1:
        dtypes = names(next(iter(rule.dtypes.values())))
    else:
        dtypes = "<br>".join(f"{key}: {names(allowed)}" for key, allowed in rule.dtypes.items())
    limits = "; ".join(limit[0].lower() + limit[1:] for limit in rule.limits)
    return f"| `{rule.op}` | {dtypes} | {limits} |"


def _native_rows() -> Iterator[str]:
    refusals = sorted(known_refusals().items(), key=lambda item: (item[1].reason, item[0]))
    for reason, group in groupby(refusals, key=lambda item: item[1].reason):
        yield f"| {reason} | {', '.join(f'`{op}`' for op, _ in group)} |"


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(support_table())
