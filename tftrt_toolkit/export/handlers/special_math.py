"""Functions of one or two variables that ONNX has no op for."""

from __future__ import annotations

from tftrt_toolkit.export.handlers.registry import Rewrite, maps


@maps("Erfc")
def erfc(r: Rewrite) -> str:
    """1 - erf(x). Absolutely exact, which is what exact GELU needs; erfc's tail isn't kept."""
    (x,) = r.inputs
    return r.emit("Sub", r.like(1, x), r.emit("Erf", x))


@maps("Log1p")
def log1p(r: Rewrite) -> str:
    """log(1 + x), exact for small x too."""
    return emit_log1p(r, r.inputs[0])


def emit_log1p(r: Rewrite, x: str) -> str:
    """log(u) + (x - (u - 1)) / u with u = 1 + x, whose second term is what rounding u lost.

    Where log(u) is large or not finite, that term is nothing or not a number, and is left out.
    """
    one = r.like(1, x)
    u = r.emit("Add", x, one)
    log = r.emit("Log", u)
    lost = r.emit("Div", r.emit("Sub", x, r.emit("Sub", u, one)), u)
    moderate = r.emit("Less", r.emit("Abs", log), r.like(10, x))
    return r.emit("Where", moderate, r.emit("Add", log, lost), log)


@maps("Expm1")
def expm1(r: Rewrite) -> str:
    """tanh(x / 2) * (exp(x) + 1), which equals exp(x) - 1 and loses nothing for small x."""
    (x,) = r.inputs
    half = r.emit("Tanh", r.emit("Mul", x, r.like(0.5, x)))
    return r.emit("Mul", half, r.emit("Add", r.emit("Exp", x), r.like(1, x)))


@maps("MulNoNan")
def mul_no_nan(r: Rewrite) -> str:
    """x * y, and 0 where y is 0 whatever x is."""
    x, y = r.inputs
    return _zero_where_zero(r, y, r.emit("Mul", x, y))


@maps("Xdivy")
def xdivy(r: Rewrite) -> str:
    """x / y, and 0 where x is 0 whatever y is."""
    x, y = r.inputs
    return _zero_where_zero(r, x, r.emit("Div", x, y))


@maps("Xlogy")
def xlogy(r: Rewrite) -> str:
    """x * log(y), and 0 where x is 0 whatever y is."""
    x, y = r.inputs
    return _zero_where_zero(r, x, r.emit("Mul", x, r.emit("Log", y)))


@maps("Xlog1py")
def xlog1py(r: Rewrite) -> str:
    """x * log(1 + y), and 0 where x is 0 whatever y is."""
    x, y = r.inputs
    return _zero_where_zero(r, x, r.emit("Mul", x, emit_log1p(r, y)))


def _zero_where_zero(r: Rewrite, gate: str, value: str) -> str:
    zero = r.like(0, gate)
    return r.emit("Where", r.emit("Equal", gate, zero), zero, value)
