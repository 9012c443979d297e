"""Choices of a group, laid out for ``--help``."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 96
_MOST_LINES = 5
_INDENT = 22


def group_help(group: str, description: str, names: Sequence[str]) -> str:
    r"""Return a group with its description and its choices, wrapped; long lists are cut.

    >>> print(group_help("logger", "where curves of a run go", ["csv", "none"]))
      logger              where curves of a run go
                          csv, none
    """
    indent = " " * _INDENT
    title = f"  {group}"
    first = f"{title:<{_INDENT}}{description}"
    if len(title) >= _INDENT:
        first = f"{title}\n{indent}{description}"
    lines = textwrap.wrap(", ".join(names), WIDTH - _INDENT, break_on_hyphens=False)
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"… {len(names)} in all"]
    return "\n".join([first, *(indent + line for line in lines)])
