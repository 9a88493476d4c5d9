"""Which ops may run in an engine: a rule an op, registered by its family's module."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.errors import InternalError
from tftrt_toolkit.support.dtypes import names
from tftrt_toolkit.support.view import NodeView

Check = Callable[[NodeView], Refusal | None]


@dataclasses.dataclass(frozen=True)
class OpRule:
    """What an op must be like to run in an engine.

    dtypes: type attribute -> DataType numbers allowed; an attribute not named is free.
    checks: run in order, the first refusal wins; a check's first docstring line is its limit.
    """

    op: str
    family: str
    dtypes: Mapping[str, frozenset[int]]
    checks: tuple[Check, ...] = ()

    @property
    def limits(self) -> tuple[str, ...]:
        """What the checks ask for, a phrase each."""
        return tuple((check.__doc__ or "").splitlines()[0].rstrip(".") for check in self.checks)

    def refusal(self, node: NodeView) -> Refusal | None:
        """Why `node` may not run in an engine, or None."""
        for attribute, allowed in self.dtypes.items():
            found = node.attr(attribute)
            for dtype in found if isinstance(found, list) else [found]:
                if dtype is not None and dtype not in allowed:
                    return Refusal("dtype", self._wrong_dtype(dtype, allowed))
        for check in self.checks:
            refusal = check(node)
            if refusal is not None:
                return refusal
        return None

    def _wrong_dtype(self, dtype: int, allowed: frozenset[int]) -> str:
        name = names([dtype])
        return f"{self.op} converts for {names(allowed)}, not for {name}"


_RULES: dict[str, OpRule] = {}


class Family:
    """Registers the ops of one family."""

    def __init__(self, title: str) -> None:
        self.title = title

    def add(self, *ops: str, checks: tuple[Check, ...] = (), **dtypes: frozenset[int]) -> None:
        """Register `ops` for these dtypes a type attribute. Raises InternalError on a repeat."""
        for op in ops:
            if op in _RULES:
                raise InternalError(f"op {op!r} is registered twice: keep one of its rules")
            _RULES[op] = OpRule(op, self.title, dtypes, checks)

    def check(
        self, *ops: str, checks: tuple[Check, ...] = (), **dtypes: frozenset[int]
    ) -> Callable[[Check], Check]:
        """Decorate a check: `ops` convert where it, after `checks`, returns no refusal."""

        def register(check: Check) -> Check:
            self.add(*ops, checks=(*checks, check), **dtypes)
            return check

        return register


def find_rule(op: str) -> OpRule | None:
    """The rule of `op`, or None: it always stays native."""
    return _RULES.get(op)


def all_rules() -> Iterator[OpRule]:
    """Every rule, by family and op."""
    return iter(sorted(_RULES.values(), key=lambda rule: (rule.family, rule.op)))
