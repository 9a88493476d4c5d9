"""A picture of the segmented graph: boxes in columns, engines coloured, drawn by matplotlib."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tftrt_toolkit.errors import InvalidArgumentError, MissingDependencyError, ModelError
from tftrt_toolkit.files import replaced_file
from tftrt_toolkit.inspection.graph import Block

_COLOURS = {"engine": "#76b900", "native": "#ffb74d"}
_SUFFIXES = (".svg", ".png", ".pdf")
_SHOWN_OPS = 4
_BOX = (0.8, 0.62)  # width and height; columns and rows are one apart


def check_suffix(path: Path) -> None:
    """Raise InvalidArgumentError for a file that can't be drawn."""
    if path.suffix not in _SUFFIXES:
        raise InvalidArgumentError(f"{path} has no known suffix: use one of {', '.join(_SUFFIXES)}")


def draw(graphs: Mapping[str, Sequence[Block]], path: Path) -> None:
    """Write a picture, one row of it for each function.

    Raises ModelError where no function has engines, MissingDependencyError without matplotlib,
    InvalidArgumentError for an unknown suffix.
    """
    check_suffix(path)
    if not graphs:
        raise ModelError("the model has no engines, so there is no segmented graph to draw")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "the picture needs matplotlib: pip install 'tftrt_toolkit[report]'"
        ) from error
    layouts = {name: layout(blocks) for name, blocks in graphs.items()}
    spans = [_span(places) for places in layouts.values()]
    width = max(columns for columns, _ in spans)
    height = sum(rows + 1 for _, rows in spans)
    figure = Figure(figsize=(max(6.0, 2.4 * width), max(2.5, 1.1 * height)))
    panels = figure.subplots(
        len(graphs), squeeze=False, height_ratios=[rows + 1 for _, rows in spans]
    )
    for (name, blocks), panel, (_, rows) in zip(graphs.items(), panels[:, 0], spans, strict=True):
        _draw_function(panel, blocks, layouts[name])
        panel.set(xlim=(-0.6, width - 0.4), ylim=(rows - 0.4, -0.6), title=name or "main graph")
        panel.axis("off")
    figure.tight_layout()
    with replaced_file(path) as partial:
        figure.savefig(partial, format=path.suffix[1:])


def layout(blocks: Sequence[Block]) -> list[tuple[int, float]]:
    """Column and row of each block: a column behind all that feed it, rows centred on these."""
    columns: list[int] = []
    for block in blocks:
        columns.append(max((columns[source] + 1 for source in block.inputs), default=0))
    in_column: dict[int, list[int]] = defaultdict(list)
    for index, column in enumerate(columns):
        in_column[column].append(index)
    tallest = max(map(len, in_column.values()), default=0)
    rows = [0.0] * len(blocks)
    for column in sorted(in_column):
        indices = in_column[column]
        indices.sort(key=lambda index: _centre(blocks[index], rows))
        for place, index in enumerate(indices):
            rows[index] = place + (tallest - len(indices)) / 2
    return list(zip(columns, rows, strict=True))


def _centre(block: Block, rows: Sequence[float]) -> float:
    sources = [rows[source] for source in block.inputs]
    return sum(sources) / len(sources) if sources else 0.0


def _span(places: Sequence[tuple[int, float]]) -> tuple[int, float]:
    return max(column for column, _ in places) + 1, max(row for _, row in places) + 1


def _draw_function(panel: Any, blocks: Sequence[Block], places: list[tuple[int, float]]) -> None:
    from matplotlib.patches import Rectangle

    width, height = _BOX
    for block, (column, row) in zip(blocks, places, strict=True):
        corner = (column - width / 2, row - height / 2)
        panel.add_patch(
            Rectangle(corner, width, height, facecolor=_COLOURS[block.kind], edgecolor="#333333")
        )
        panel.text(column, row, _label(block), ha="center", va="center", fontsize=6)
        for source in block.inputs:
            start = (places[source][0] + width / 2, places[source][1])
            # A straight arrow over several columns would run through the boxes between.
            bend = 0.25 if column - places[source][0] > 1 else 0.0
            arrow = {"arrowstyle": "->", "color": "#555555", "connectionstyle": f"arc3,rad={bend}"}
            panel.annotate("", (column - width / 2, row), start, arrowprops=arrow)


def _label(block: Block) -> str:
    shown = [f"{op} ×{count}" for op, count in list(block.op_counts.items())[:_SHOWN_OPS]]
    more = len(block.op_counts) - len(shown)
    return "\n".join([block.label, *shown, *([f"{more} more"] if more else [])])
