"""Tell what a converted SavedModel holds: segments, plans, sizes, precision, why not converted.

  inspect_model --saved_model_dir=CONVERTED
  inspect_model --saved_model_dir=CONVERTED --json --picture=graph.svg

Nothing is loaded or run. Parts of assets are compared with their hashes; a damaged one is told.

Exit codes: 0 done; 1 no such model, or nothing to draw; 2 wrong flags; 130 interrupted.
"""

from __future__ import annotations

import json
from pathlib import Path

from absl import flags

from tftrt_toolkit.cli import common
from tftrt_toolkit.inspection import condensed_graphs, describe, draw, to_text
from tftrt_toolkit.inspection.picture import check_suffix
from tftrt_toolkit.saved_model import find_meta_graph, read_saved_model

_MODEL = flags.DEFINE_string("saved_model_dir", None, "The SavedModel, converted or not.")
_TAGS = flags.DEFINE_list("saved_model_tags", ["serve"], "Tags of the model's meta graph.")
_JSON = flags.DEFINE_bool("json", False, "Print JSON instead of text.")
_DETAILED = flags.DEFINE_bool("detailed", False, "List layers, and nodes of higher precision.")
_PICTURE = flags.DEFINE_string("picture", None, "Draw the segmented graph: *.svg, *.png or *.pdf.")


def inspect() -> int:
    """Describe the model as the flags say; returns the exit code."""
    directory = Path(_MODEL.value)
    if _PICTURE.value:
        check_suffix(Path(_PICTURE.value))
    description = describe(directory, _TAGS.value)
    if _JSON.value:
        print(json.dumps(description, indent=2))
    else:
        print(to_text(description, _DETAILED.value), end="")
    if _PICTURE.value:
        meta_graph = find_meta_graph(read_saved_model(directory), directory, _TAGS.value)
        draw(condensed_graphs(meta_graph), Path(_PICTURE.value))
    return common.EXIT_OK


def main() -> None:
    """Entry point of `scripts/inspect_model.py`."""
    common.run(inspect, required=["saved_model_dir"])
