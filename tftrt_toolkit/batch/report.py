"""One report for a whole batch: text, JSON and an HTML page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tftrt_toolkit.batch.job import Job
from tftrt_toolkit.batch.state import Record
from tftrt_toolkit.html_page import render
from tftrt_toolkit.inspection.text import size
from tftrt_toolkit.validation.text import align

_TEMPLATES = Path(__file__).parent / "templates"
_HEADER = ("model", "precision", "result", "engines", "nodes", "size", "SNR dB", "seconds",
           "peak GB")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class BatchReport:
    """What became of every model of a manifest, in its order.

    reused: how many were done by an earlier run. seconds: of this run. peak_bytes: the most that
    all its processes held at once, at most; 0 where that isn't known.
    """

    manifest: str
    jobs: tuple[Job, ...]
    records: tuple[Record, ...]
    reused: int
    seconds: float
    peak_bytes: int

    @property
    def failures(self) -> tuple[Record, ...]:
        """The models that aren't there."""
        return tuple(record for record in self.records if not record.converted)

    @property
    def passed(self) -> bool:
        """Whether every model is there."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON's types."""
        return {
            "manifest": self.manifest,
            "passed": self.passed,
            "converted": len(self.records) - len(self.failures),
            "failed": len(self.failures),
            "reused": self.reused,
            "seconds": self.seconds,
            "peak_bytes": self.peak_bytes,
            "models": [
                {
                    "saved_model": str(job.saved_model),
                    "output": str(job.output),
                    "precision": job.params.precision_mode,
                }
                | dataclasses.asdict(record)
                for job, record in zip(self.jobs, self.records, strict=True)
            ],
        }

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"


def verdict_line(report: BatchReport) -> str:
    """One line for a log."""
    done = len(report.records) - len(report.failures)
    failed = f", {len(report.failures)} failed" if report.failures else ""
    reused = f"; {report.reused} were done before" if report.reused else ""
    return f"{done} of {len(report.records)} models converted{failed}{reused}"


def to_text(report: BatchReport) -> str:
    """The whole report, the verdict first."""
    lines = [f"{verdict_line(report)} ({report.seconds:.0f} s)"]
    lines += [f"  fail: {record.name}: {record.error}" for record in report.failures]
    lines += ["", *align([_HEADER, *_rows(report)])]
    return "\n".join(lines) + "\n"


def to_html(report: BatchReport) -> str:
    """The page, which needs no other file. Raises MissingDependencyError without jinja2."""
    return render(
        _TEMPLATES,
        "batch.html.j2",
        report=report,
        verdict=verdict_line(report),
        header=_HEADER,
        rows=list(zip(_rows(report), report.records, strict=True)),
    )


def _rows(report: BatchReport) -> Iterator[tuple[str, ...]]:
    for job, record in zip(report.jobs, report.records, strict=True):
        facts = record.facts
        yield (
            record.name,
            job.params.precision_mode,
            "ok" if record.converted else "failed",
            str(facts["engines"]) if facts else "-",
            f"{facts['converted_nodes']}/{facts['total_nodes']}" if facts else "-",
            size(facts["bytes"]) if facts else "-",
            f"{float(facts['snr_db']):.1f}" if "snr_db" in facts else "-",
            f"{record.seconds:.1f}",
            f"{record.peak_rss_bytes / 1e9:.2f}" if record.peak_rss_bytes else "-",
        )
