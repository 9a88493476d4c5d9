"""Lets the fields that our docstrings list as `name: what it is` appear as a list."""

import re
from typing import Any

import griffe

# A line that begins with names and a colon, as in `batch_size: of random inputs`.
_FIELD = re.compile(r"^(`?[a-z_]\w*`?(?:, `?[a-z_]\w*`?)*): ")


class FieldLists(griffe.Extension):
    """Turns such lines into Markdown's list items."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite an object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = as_lists(obj.docstring.value)


def as_lists(text: str) -> str:
    """The docstring with its field lines as list items; sections like `Args:` are left alone."""
    lines: list[str] = []
    for line in text.splitlines():
        match = _FIELD.match(line)
        if match:
            in_list = bool(lines) and lines[-1].startswith(("- ", "    "))
            lines += [] if in_list or not lines or not lines[-1] else [""]
            lines.append(f"- **{match[1].replace('`', '')}**: {line[match.end() :]}")
        elif line.startswith("  ") and lines and lines[-1].startswith(("- ", "    ")):
            lines.append(f"    {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines)
