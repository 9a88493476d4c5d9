"""HTML pages that need no other file: the templates' common base, and how they are filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tftrt_toolkit.errors import MissingDependencyError

_BASE = Path(__file__).parent / "templates"


def import_jinja2() -> Any:
    """The module. Raises MissingDependencyError if it isn't installed."""
    try:
        import jinja2
    except ImportError as error:
        raise MissingDependencyError(
            "the HTML report needs jinja2, which isn't installed: "
            "pip install 'tftrt_toolkit[report]'"
        ) from error
    return jinja2


def render(
    folder: Path,
    template: str,
    filters: Mapping[str, Callable[..., str]] | None = None,
    **values: Any,
) -> str:
    """Fill a template of `folder`, which may extend `base.html.j2`; all text is escaped.

    Raises MissingDependencyError without jinja2 (the extra `report`).
    """
    jinja2 = import_jinja2()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _BASE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template).render(**values)
