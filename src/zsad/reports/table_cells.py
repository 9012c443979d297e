"""Cells of a table, for text and for HTML."""

from __future__ import annotations

import math
from dataclasses import dataclass

COMPARISON_TITLE = "Runs side by side"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: The text that is shown.
        value: Sort key: a number, NaN to stay last; ``None`` to sort by the text.
        note: A second, smaller line.
        hint: Tooltip of the cell.
        is_best: Whether this is the best of its column.
        link: Target of the text, relative to the page.
    """

    text: str
    value: int | float | None = None
    note: str = ""
    hint: str = ""
    is_best: bool = False
    link: str = ""

    @property
    def sort_key(self) -> str | int | float:
        """The value, or the text where there is none; empty for NaN."""
        if self.value is None:
            return self.text
        return "" if math.isnan(self.value) else self.value


@dataclass(frozen=True)
class CellTable:
    """A table of runs that were tested on the same images.

    Attributes:
        title: The dataset, how much of it, and the metric where there is a table for each.
        heading: Names of the columns.
        rows: Words and numbers.
        notes: Remarks below the table.
    """

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def number_cell(value: float, *, note: str = "", hint: str = "", is_best: bool = False) -> Cell:
    """Format a number in percent with one decimal, or ``n/a``."""
    text = "n/a" if math.isnan(value) else f"{value:.1f}"
    return Cell(text, value, note, hint, is_best)
