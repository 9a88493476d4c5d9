"""`describe()`'s findings for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def to_text(description: Mapping[str, Any], detailed: bool = False) -> str:
    """One paragraph a segment, then what stayed native; `detailed` adds layers and islands."""
    return "\n".join(_lines(description, detailed)) + "\n"


def _lines(description: Mapping[str, Any], detailed: bool) -> Iterator[str]:
    yield f"{description['model']}: {size(description['model_bytes'])}"
    for key, signature in description["signatures"].items():
        takes = ", ".join(f"{name} {_tensor(one)}" for name, one in signature["inputs"].items())
        gives = ", ".join(f"{name} {_tensor(one)}" for name, one in signature["outputs"].items())
        yield f"signature {key}: {takes or 'nothing'} -> {gives or 'nothing'}"
    if not description["engine_nodes"]:
        yield "no engines: this model wasn't converted"
        return
    share = ""
    if description["total_nodes"]:
        share = (
            f", {description['converted_nodes']} of {description['total_nodes']} nodes converted"
        )
    yield f"{description['engine_nodes']} engines, {description['precision_mode'] or '?'}{share}"
    for segment in description["segments"]:
        yield ""
        yield from _segment(segment, detailed)
    if not description["has_report"]:
        yield ""
        yield "no report of the conversion is in the model: why nodes stayed native isn't known"
    yield from _reasons(description)


def _segment(segment: Mapping[str, Any], detailed: bool) -> Iterator[str]:
    yield f"{segment['name']}: {size(segment['bytes'])}"
    if "error" in segment:
        yield f"  runs natively: {segment['error']}"
        return
    for kind in ("inputs", "outputs"):
        tensors = (f"{spec['name']} {_tensor(spec)}" for spec in segment[kind])
        yield f"  {kind}: {', '.join(tensors)}"
    weights = size(segment["onnx_bytes"] + segment["weights_bytes"])
    layers = sum(segment["layers"].values())
    yield f"  {segment['precision'] or 'no ONNX'}: {layers} layers, {weights} of ONNX"
    if detailed:
        yield f"  layers: {_counts(segment['layers'])}"
    kept = [island for island in segment["islands"] if detailed]
    if segment["islands"] and not detailed:
        yield f"  {len(segment['islands'])} nodes keep a higher precision"
    for island in kept:
        yield f"  {island['node']} ({island['op']}) stays {island['precision']}: {island['reason']}"
    if not segment["plans"]:
        yield "  no plan: it runs natively until one is built"
    for winner in segment["tuned"]:
        shapes = ", ".join("x".join(map(str, s)) or "()" for s in winner["shapes"].values())
        yield f"  tuned on {winner['device']} for {shapes}: {winner['executor']}"
    for plan in segment["plans"]:
        targets = ", ".join(plan["targets"]) or "the builder's GPU"
        yield f"  plan {plan['flavour']} {plan['version']} for {targets}: {size(plan['bytes'])}"
        for profile in plan["profiles"]:
            for name, shapes in profile.items():
                yield f"    {name}: {' : '.join('x'.join(map(str, s)) or '()' for s in shapes)}"


def _reasons(description: Mapping[str, Any]) -> Iterator[str]:
    refused = [f"{one['op']} x{one['count']}: {one['reason']}" for one in description["refused"]]
    dropped = [one["reason"] for one in description["dropped"]]
    notes = [*description["merges"], *description["notes"]]
    for title, found in (("not converted", refused + dropped), ("notes", notes)):
        if found:
            yield ""
            yield f"{title}:"
            yield from (f"  {reason}" for reason in found)


def _tensor(spec: Mapping[str, Any]) -> str:
    if spec["shape"] is None:
        return f"{spec['dtype']}[...]"
    return f"{spec['dtype']}[{', '.join('?' if d is None else str(d) for d in spec['shape'])}]"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{op} x{count}" for op, count in counts.items())


def size(count: int) -> str:
    """Bytes as people read them."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
