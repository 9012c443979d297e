"""Rendering of templates: every text is escaped, and a name that is missing is an error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsad.reports.results_table import metric_label
from zsad.reports.run_page import Interval

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent


def render(template: str, title: str, **context: Any) -> str:
    """Render a template that extends ``document.html``: with style, script and content policy.

    Args:
        template: File name below ``templates/``.
        title: Title of the document.
        context: Values of the names in the template.

    Raises:
        jinja2.UndefinedError: A name of the template is missing.
    """
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    document = _environment().get_template(template)
    return document.render(title=title, style=style, script=script, **context)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["metric_label"] = metric_label
    environment.filters["percent"] = percent
    environment.filters["percent_range"] = percent_range
    environment.filters["phrase"] = phrase
    environment.filters["plural"] = plural
    environment.filters["pretty_json"] = pretty_json
    return environment


def percent(share: float) -> str:
    """Format a share in percent with one decimal, or ``n/a``.

    >>> percent(0.915)
    '91.5'
    """
    if math.isnan(share):
        return "n/a"
    return f"{100 * share:.1f}"


def percent_range(interval: Interval | None) -> str:
    """Format an interval of shares in percent; empty where there is none.

    >>> percent_range((0.4, 0.6))
    '40.0–60.0'
    """
    if interval is None:
        return ""
    low, high = interval
    if math.isnan(low):
        return ""
    return f"{100 * low:.1f}–{100 * high:.1f}"


def plural(noun: str) -> str:
    """Return the plural of a regular noun.

    >>> plural("category"), plural("dataset")
    ('categories', 'datasets')
    """
    if noun.endswith("y"):
        return f"{noun.removesuffix('y')}ies"
    return f"{noun}s"


def phrase(value: Any) -> str:
    """Write a plain value in words.

    >>> phrase({"image_size": 518, "tags": ["a", "b"], "tiled": False, "note": None})
    'image size 518, tags a, b, tiled no, note none'
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        parts = []
        for key, item in value.items():
            words = key.replace("_", " ")
            parts.append(f"{words} {phrase(item)}")
        return ", ".join(parts) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(phrase, value)) or "none"
    return str(value)


def pretty_json(value: Any) -> str:
    """Write a value as indented JSON."""
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)
