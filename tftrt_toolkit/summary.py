"""A conversion's report as tables for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_COLUMNS = (
    ("TRTEngineOP Name", 0.20),
    ("Device", 0.09),
    ("# Nodes", 0.05),
    ("# Inputs", 0.09),
    ("# Outputs", 0.09),
    ("Input DTypes", 0.12),
    ("Output Dtypes", 0.12),
    ("Input Shapes", 0.12),
    ("Output Shapes", 0.12),
)


def print_summary(
    report: Mapping[str, Any], line_length: int, detailed: bool, print_fn: Callable[[str], Any]
) -> None:
    """Print the stock converter's table of engines, then why the rest stayed native."""
    widths = [int(line_length * share) for _, share in _COLUMNS]
    _print_row([name for name, _ in _COLUMNS], widths, print_fn)
    print_fn("=" * line_length)
    for segment in sorted(report["segments"], key=lambda entry: entry["name"]):
        if len(report["segments"]) != 1:
            print_fn(f"\n{'-' * 40}\n")
        _print_row(_fields(segment), widths, print_fn)
        if detailed:
            print_fn("")
            for op, count in segment["op_counts"].items():
                print_fn(f"\t- {op}: {count}x")
    print_fn(f"\n{'=' * line_length}")
    print_fn(f"[*] Total number of TensorRT engines: {len(report['segments'])}")
    converted, total = report["converted_nodes"], report["total_nodes"]
    share = 100 * report["converted_node_fraction"]
    print_fn(f"[*] % of OPs Converted: {share:.2f}% [{converted}/{total}]\n")
    _print_reasons(report, print_fn)


def _print_reasons(report: Mapping[str, Any], print_fn: Callable[[str], Any]) -> None:
    for entry in report["refused"]:
        print_fn(f"[native] {entry['op']} x{entry['count']}: {entry['reason']}")
    for precision, op, count, reason in _higher(report["segments"]):
        print_fn(f"[{precision}] {op} x{count}: {reason}")
    for entry in report["dropped"]:
        print_fn(f"[dropped] {_some(entry['nodes'])}: {entry['reason']}")
    for sentence in report["merges"]:
        print_fn(f"[hint] {sentence}")
    for note in report["notes"]:
        print_fn(f"[note] {note}")


def _higher(segments: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str, int, str]]:
    """Precision, op, count and the first one's reason of nodes kept in a higher precision."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for segment in segments:
        for one in (*segment["islands"], *segment["plan_islands"]):
            reasons[one["precision"], one["op"]].append(one["reason"])
    for (precision, op), found in reasons.items():
        yield precision, op, len(found), found[0]


def _fields(segment: Mapping[str, Any]) -> list[str]:
    inputs, outputs = segment["inputs"], segment["outputs"]
    return [
        segment["name"],
        segment.get("device") or "-",
        str(sum(segment["op_counts"].values())),
        str(len(inputs)),
        str(len(outputs)),
        str([spec["dtype"] for spec in inputs]),
        str([spec["dtype"] for spec in outputs]),
        str([spec["shape"] for spec in inputs]),
        str([spec["shape"] for spec in outputs]),
    ]


def _print_row(fields: list[str], widths: list[int], print_fn: Callable[[str], Any]) -> None:
    cells = [
        (field if len(field) < width else field[: width - 4] + "...").ljust(width)
        for field, width in zip(fields, widths, strict=True)
    ]
    print_fn("".join(cells).rstrip())


def _some(nodes: list[str], shown: int = 3) -> str:
    rest = f" and {len(nodes) - shown} more" if len(nodes) > shown else ""
    return ", ".join(nodes[:shown]) + rest
