"""The pictures of a validation report, each drawn for a light and for a dark page."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tftrt_toolkit.errors import MissingDependencyError
from tftrt_toolkit.validation.agreement import AgreementSummary
from tftrt_toolkit.validation.deviation import HISTOGRAM_EDGES, ErrorSummary
from tftrt_toolkit.validation.result import Finding, WorstInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Drawn about as wide as a phone, so that text keeps its size there.
_WIDTH = 4.0
_DECADES_SHOWN = 0.5
_TALLEST_DB = 120.0


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of one page."""

    text: str
    faint: str
    bar: str
    bad: str
    card: str
    on_bar: str


LIGHT = Theme("#1f2328", "#d0d7de", "#2563c9", "#c2410c", card="#f6f8fa", on_bar="#ffffff")
DARK = Theme("#e6edf3", "#3d444d", "#6cb0ff", "#ff9a5c", card="#161b22", on_bar="#0d1117")


@dataclasses.dataclass(frozen=True)
class Picture:
    """One figure as two data URIs, and its words for who can't see it."""

    light: str
    dark: str
    alt: str


def error_histogram(name: str, errors: ErrorSummary) -> Picture | None:
    """How many values have an |error| of which size; None if all are equal."""
    counts = np.array(errors.histogram)
    if not counts.any():
        return None
    used = np.flatnonzero(counts)
    first, last = used[0], used[-1] + 1
    edges = np.array(HISTOGRAM_EDGES)

    def draw(axes: Axes, theme: Theme) -> None:
        widths = np.diff(edges[first : last + 1])
        axes.bar(edges[first:last], counts[first:last], widths, align="edge", color=theme.bar)
        axes.set_xlabel("|error|, power of ten")
        axes.set_ylabel("values")
        axes.set_xlim(edges[first] - _DECADES_SHOWN, edges[last] + _DECADES_SHOWN)
        if errors.scale:
            axes.axvline(math.log10(errors.scale), color=theme.bad, linestyle="--", linewidth=1)
            axes.set_xlim(right=max(edges[last], math.log10(errors.scale)) + _DECADES_SHOWN)

    alt = f"Histogram of |error| of {name}; the dashed line is the output's scale."
    return _picture(draw, 2.2, alt)


def agreement_matrix(name: str, agreement: AgreementSummary) -> Picture | None:
    """Counts of (original's class, converted's class); None without a matrix."""
    if agreement.matrix is None:
        return None
    matrix = np.array(agreement.matrix)
    count = len(matrix)

    def draw(axes: Axes, theme: Theme) -> None:
        shown = np.log1p(matrix)
        colors = _matplotlib().colors.LinearSegmentedColormap.from_list(
            "counts", [theme.card, theme.bar]
        )
        axes.imshow(shown, cmap=colors, vmin=0)
        axes.set_xlabel("converted")
        axes.set_ylabel("original")
        step = max(1, count // 10)
        axes.set_xticks(range(0, count, step))
        axes.set_yticks(range(0, count, step))
        if count > 12:
            return
        high = shown.max() / 2
        for row, column in zip(*np.nonzero(matrix), strict=True):
            color = theme.on_bar if shown[row, column] > high else theme.text
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center",
                      fontsize=7, color=color)  # fmt: skip

    return _picture(draw, 3.6, f"Classes that both models give for {name}: {count} by {count}.")


def segment_errors(findings: Sequence[Finding]) -> Picture | None:
    """SNR of each segment on identical inputs, the worst first."""
    if not findings:
        return None
    shown = findings[:20]
    values = [min(max(finding.snr_db, 0.0), _TALLEST_DB) for finding in shown]
    names = [finding.segment.rpartition("/")[2] for finding in shown]

    def draw(axes: Axes, theme: Theme) -> None:
        axes.barh(range(len(shown)), values, color=theme.bar)
        axes.set_yticks(range(len(shown)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, _TALLEST_DB)
        axes.set_xlabel("SNR in dB, more is better")

    return _picture(draw, 0.9 + 0.28 * len(shown), "Signal-to-noise ratio of each segment.")


def thumbnail(worst: WorstInput) -> Picture | None:
    """The input's picture, if it has one; the same on both pages."""
    if worst.image is None:
        return None
    from matplotlib import image as matplotlib_image

    _matplotlib()
    pixels = np.clip(np.nan_to_num(worst.image), 0, 1)
    pixels = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    grow = max(1, 96 // max(pixels.shape[:2]))
    pixels = np.kron(pixels, np.ones((grow, grow, 1)))
    buffer = io.BytesIO()
    matplotlib_image.imsave(buffer, pixels, format="png")
    uri = _uri("image/png", buffer.getvalue())
    return Picture(uri, uri, f"Input {worst.index}")


def _picture(draw: Callable[[Axes, Theme], None], height: float, alt: str) -> Picture:
    return Picture(_render(draw, height, LIGHT), _render(draw, height, DARK), alt)


def _render(draw: Callable[[Axes, Theme], None], height: float, theme: Theme) -> str:
    matplotlib = _matplotlib()
    settings = {
        "font.size": 9,
        "svg.fonttype": "path",
        # The same input gives the same file.
        "svg.hashsalt": "tftrt_toolkit",
        "text.color": theme.text,
        "axes.labelcolor": theme.text,
        "axes.edgecolor": theme.faint,
        "xtick.color": theme.text,
        "ytick.color": theme.text,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(settings):
        figure = matplotlib.figure.Figure((_WIDTH, height), layout="constrained")
        draw(figure.add_subplot(), theme)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _uri("image/svg+xml", buffer.getvalue())


def _uri(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _matplotlib() -> Any:
    try:
        import matplotlib
        import matplotlib.colors
        import matplotlib.figure
    except ImportError as error:
        raise MissingDependencyError(
            "the HTML report draws with matplotlib, which isn't installed: "
            "pip install 'tftrt_toolkit[report]'"
        ) from error
    return matplotlib
