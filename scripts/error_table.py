"""Write the tables of docs/troubleshooting.md: every error message of the package, and its mend.

  python scripts/error_table.py [--check]

Messages are read from the source. Most say themselves how to mend what they tell; for the others
`docs/mends.yaml` has a sentence. With --check nothing is written, and a table that is stale, or a
message without a mend, is an error.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tftrt_toolkit"
PAGE = ROOT / "docs" / "troubleshooting.md"
MENDS = ROOT / "docs" / "mends.yaml"
_BEGIN, _END = "<!-- messages: begin -->\n", "<!-- messages: end -->"
# What stands for a value in a message.
_VALUE = "…"
# Builtins that are raised on purpose; ours are those of errors.py.
_BUILTINS = {
    "AssertionError": "The order of calls, as in stock TF-TRT.",
    "NotImplementedError": "The order of calls, as in stock TF-TRT.",
    "RuntimeError": "The order of calls, as in stock TF-TRT; and, in the log, why an executor "
    "leaves a segment to another or to TensorFlow.",
}
_ASKS = re.compile(r"\b(must|is not of the form|give|use|set|name one|needs? .* or later)\b")


def error_classes() -> dict[str, str]:
    """Error class -> the first line of its docstring."""
    tree = ast.parse((PACKAGE / "errors.py").read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: (ast.get_docstring(node) or "").split("\n")[0] for node in classes}


def messages() -> dict[str, set[str]]:
    """Error class -> the messages it is raised with, values left out."""
    names = error_classes().keys() | _BUILTINS.keys()
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name, message in _raised(ast.parse(path.read_text()), names):
            # What is only values repeats another error's words.
            if len(re.findall(r"[a-z]{2,}", message)) > 1:
                found[name].add(message)
    return found


def has_own_mend(message: str) -> bool:
    """Whether a message says what to do: behind its last colon, or by asking for something."""
    _, *tail = re.split(r"[:;] ", message)
    behind = tail[-1].replace(_VALUE, "").split() if tail else []
    return len(behind) > 1 or bool(_ASKS.search(message))


def tables(mends: Mapping[str, str]) -> str:
    """The generated part of the page. Raises ValueError naming the messages without a mend."""
    found = messages()
    known = set().union(*found.values())
    faults = found["InternalError"]  # all of them are for us to mend
    bare = sorted(one for one in known - faults if not has_own_mend(one) and one not in mends)
    gone = sorted(mends.keys() - known)
    if bare or gone:
        raise ValueError(
            f"docs/mends.yaml lacks a mend for {bare} and has one for {gone}, which isn't raised"
        )
    parts = []
    for name, about in {**error_classes(), **_BUILTINS}.items():
        if name in found:
            parts.append(f"### {name}\n\n{about}\n\n")
            parts += [_row(message, mends) for message in sorted(found[name])]
            parts.append("\n")
    return "\n" + "".join(parts)


def page(text: str, generated: str) -> str:
    """The page with its generated part replaced."""
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    return before + _BEGIN + generated + _END + after


def _raised(tree: ast.AST, names: set[str]) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            message = _text(node.args[0])
            if node.func.id in names and message:
                yield node.func.id, " ".join(message.split())


def _text(node: ast.expr) -> str:
    """A string expression with its values left out; empty if it is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return _VALUE


def _row(message: str, mends: Mapping[str, str]) -> str:
    mend = f"<br>{mends[message]}" if message in mends else ""
    fence = "``" if "`" in message else "`"
    return f"- {fence}{message}{fence}{mend}\n"


def main() -> int:
    """Write the page, or check it; returns the exit code."""
    mends = yaml.safe_load(MENDS.read_text()) or {}
    text = PAGE.read_text()
    try:
        fresh = page(text, tables(mends))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(fresh)
    elif fresh != text:
        print("error: docs/troubleshooting.md is stale: run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
