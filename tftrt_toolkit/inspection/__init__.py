"""What a converted SavedModel holds, without loading it: engines, plans, native parts, reasons."""

from tftrt_toolkit.inspection.contents import describe, engine_assets
from tftrt_toolkit.inspection.graph import Block, condensed_graphs
from tftrt_toolkit.inspection.picture import draw
from tftrt_toolkit.inspection.text import to_text

__all__ = ["Block", "condensed_graphs", "describe", "draw", "engine_assets", "to_text"]
