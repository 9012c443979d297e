"""Text in aligned columns."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "  "


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line per row, every column as wide as its longest cell.

    >>> align_columns([("phase", "images"), ("test", "12")])
    ['phase  images', 'test   12']
    """
    columns: list[list[str]] = []
    for cells in zip(*rows, strict=True):
        width = max(map(len, cells))
        columns.append([cell.ljust(width) for cell in cells])
    lines = map(GAP.join, zip(*columns, strict=True))
    return [line.rstrip() for line in lines]
