"""Quotients and remainders, of integers and of floats, with TensorFlow's signs.

ONNX's Div truncates integers as C does; its Mod takes the divisor's sign with fmod=0 (integers
only) and the dividend's with fmod=1.
"""

from __future__ import annotations

from tftrt_toolkit.export.handlers.registry import Rewrite, maps


@maps("FloorDiv")
def floor_div(r: Rewrite) -> str:
    """floor(x / y)."""
    x, y = r.inputs
    if not r.is_integer(x):
        return r.emit("Floor", r.emit("Div", x, y))
    return r.emit("Div", r.emit("Sub", x, r.emit("Mod", x, y, fmod=0)), y)


@maps("FloorMod", "Mod")
def floor_mod(r: Rewrite) -> str:
    """x - y * floor(x / y), without the rounding of that formula: it jumps by y near multiples."""
    x, y = r.inputs
    if r.is_integer(x):
        return r.emit("Mod", x, y, fmod=0)
    zero = r.like(0, x)
    rest = r.emit("Mod", x, y, fmod=1)
    signs_differ = r.emit("Xor", r.emit("Less", rest, zero), r.emit("Less", y, zero))
    nonzero = r.emit("Not", r.emit("Equal", rest, zero))
    wrong = r.emit("And", signs_differ, nonzero)
    return r.emit("Where", wrong, r.emit("Add", rest, y), rest)


@maps("TruncateDiv")
def truncate_div(r: Rewrite) -> str:
    """x / y, rounded towards zero."""
    x, y = r.inputs
    quotient = r.emit("Div", x, y)
    if r.is_integer(x):
        return quotient
    negative = r.emit("Less", quotient, r.like(0, x))
    return r.emit("Where", negative, r.emit("Ceil", quotient), r.emit("Floor", quotient))


@maps("TruncateMod")
def truncate_mod(r: Rewrite) -> str:
    """What TruncateDiv leaves: it has x's sign."""
    x, y = r.inputs
    if r.is_integer(x):
        return r.emit("Sub", x, r.emit("Mul", r.emit("Div", x, y), y))
    return r.emit("Mod", x, y, fmod=1)
