"""A validation report as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tftrt_toolkit.validation.result import (
    MetricResult,
    OutputResult,
    SignatureResult,
    ValidationReport,
)

_HEADER = ("output", "max |error|", "of scale", "mean |error|", "mean rel.", "cosine", "SNR dB",
           "top-1", "verdict")  # fmt: skip


def to_text(report: ValidationReport) -> str:
    """The whole report, the verdict first."""
    return "\n".join(_lines(report)) + "\n"


def verdict_line(report: ValidationReport) -> str:
    """One line for a log."""
    word = "PASS" if report.passed else "FAIL"
    reason = "" if report.passed else f": {report.failures[0]}"
    more = f" (and {len(report.failures) - 1} more)" if len(report.failures) > 1 else ""
    return f"{word} {report.converted} against {report.original} ({report.precision}){reason}{more}"


def _lines(report: ValidationReport) -> Iterator[str]:
    yield verdict_line(report)
    for failure in report.failures:
        yield f"  fail: {failure}"
    for warning in report.warnings:
        yield f"  note: {warning}"
    for result in report.signatures:
        yield ""
        yield from _signature_lines(result)
    if report.findings:
        yield ""
        yield "Segments by the error that they add, on identical inputs:"
        for finding in report.findings:
            where = f" at {finding.node or finding.tensor}" if finding.node else ""
            yield f"  {format_db(finding.snr_db)} dB  {finding.segment} ({finding.source}){where}"
            if finding.advice:
                yield f"            {finding.advice}"
    if report.latency:
        yield ""
        yield from _latency_lines(report)


def _signature_lines(result: SignatureResult) -> Iterator[str]:
    yield f"signature {result.key}: {result.inputs} inputs in {result.batches} batches"
    yield from align([_HEADER, *(_output_row(output) for output in result.outputs)])
    for metric in result.metrics:
        yield f"  {metric_line(metric)}"
    for metric in result.metrics:
        yield from (f"  note: {metric.name}: {warning}" for warning in metric.warnings)
    for warning in result.warnings:
        yield f"  note: {warning}"
    for worst in result.worst[:5]:
        answers = f", class {worst.answers[0]} -> {worst.answers[1]}" if worst.answers else ""
        yield f"  worst: input {worst.index}: {worst.share:.3g} of {worst.output}'s scale{answers}"


def _output_row(output: OutputResult) -> tuple[str, ...]:
    found = output.errors
    return (
        output.name,
        f"{found.max_abs:.3g}",
        f"{found.max_scaled:.2g}",
        f"{found.mean_abs:.3g}",
        f"{found.mean_rel:.2g}",
        f"{found.cosine:.6f}",
        format_db(found.snr_db),
        f"{100 * output.agreement.top1:.2f} %" if output.agreement else "-",
        "fail" if output.failures else "pass",
    )


def metric_line(metric: MetricResult) -> str:
    """A metric of both models and the difference with its interval."""
    found = metric.estimate
    return (
        f"{metric.name}: {found.original:.4f} -> {found.converted:.4f}, difference "
        f"{found.difference:+.4f} (95 %: {found.low:+.4f} to {found.high:+.4f})"
    )


def format_db(value: float) -> str:
    """A ratio in dB; `inf` where nothing differs."""
    return f"{value:.1f}" if math.isfinite(value) else str(value)


def _latency_lines(report: ValidationReport) -> Iterator[str]:
    rows = [("latency", "batch", "median ms", "p90", "p99", "inputs/s", "peak RSS GB")]
    rows += [
        (
            one.model,
            str(one.batch),
            f"{one.median_ms:.2f}",
            f"{one.p90_ms:.2f}",
            f"{one.p99_ms:.2f}",
            f"{one.inputs_per_second:.0f}",
            f"{one.peak_rss_bytes / 1e9:.2f}",
        )
        for one in report.latency
    ]
    yield from align(rows)


def align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines, columns aligned: the first to the left, all others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  " + "  ".join(cells).rstrip()
