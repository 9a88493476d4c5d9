"""A validation report as one HTML page that needs no other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tftrt_toolkit.html_page import render
from tftrt_toolkit.validation import figures
from tftrt_toolkit.validation.result import ValidationReport
from tftrt_toolkit.validation.text import format_db, metric_line, verdict_line

_TEMPLATES = Path(__file__).parent / "templates"


def to_html(report: ValidationReport) -> str:
    """The page, for light and dark screens of any width.

    Raises MissingDependencyError without jinja2 and matplotlib (the extra `report`).
    """
    return render(
        _TEMPLATES,
        "report.html.j2",
        {"db": format_db, "metric": metric_line},
        report=report,
        verdict=verdict_line(report),
        signatures=[_signature(result) for result in report.signatures],
        segment_picture=figures.segment_errors(report.findings),
    )


def _signature(result: Any) -> dict[str, Any]:
    return {
        "result": result,
        "outputs": [
            {
                "output": output,
                "histogram": figures.error_histogram(output.name, output.errors),
                "matrix": figures.agreement_matrix(output.name, output.agreement)
                if output.agreement
                else None,
            }
            for output in result.outputs
        ],
        "worst": [(worst, figures.thumbnail(worst)) for worst in result.worst],
    }
