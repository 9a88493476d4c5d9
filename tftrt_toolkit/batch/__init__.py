"""Batch conversion: a manifest of models, converted in parallel within limits, with one report."""

from tftrt_toolkit.batch.manifest import Manifest, load_manifest
from tftrt_toolkit.batch.report import BatchReport, to_html, to_text
from tftrt_toolkit.batch.run import Limits, run_batch

__all__ = [
    "BatchReport",
    "Limits",
    "Manifest",
    "load_manifest",
    "run_batch",
    "to_html",
    "to_text",
]
