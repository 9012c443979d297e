"""Tables of a page: sortable by their headings, scrolling in themselves where they are wide."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zsad.reports.html.markup import Markup, joined, tag
from zsad.reports.table_cells import Cell


def table(
    caption: str,
    heading: Sequence[str],
    body: Sequence[Sequence[Cell]],
    foot: Sequence[Sequence[Cell]] = (),
    *,
    is_sortable: bool = True,
) -> Markup:
    """Write a table; ``caption`` names it for those who do not see it."""
    numeric = [cell.value is not None for cell in body[0]] if body else [False] * len(heading)
    titles = [_heading(*column, is_sortable) for column in zip(heading, numeric, strict=True)]
    parts = [tag("thead", tag("tr", *titles)), tag("tbody", *map(_row, body))]
    parts += [tag("tfoot", *map(_row, foot))] if foot else []
    whole = tag("table", *parts, class_="sortable" if is_sortable else None)
    return tag("div", whole, class_="scroll", role="region", aria_label=caption, tabindex=0)


def _heading(title: str, is_numeric: bool, is_sortable: bool) -> Markup:
    content = tag("button", title, type="button") if is_sortable else title
    return tag("th", content, scope="col", class_="number" if is_numeric else None)


def _row(cells: Sequence[Cell]) -> Markup:
    return tag("tr", *(_cell(cell, "td" if i else "th") for i, cell in enumerate(cells)))


def _cell(cell: Cell, element: str) -> Markup:
    text = tag("a", cell.text, href=cell.link) if cell.link else cell.text
    shown = tag("strong", text) if cell.is_best else text
    small = tag("small", cell.note) if cell.note else ""
    return tag(
        element,
        joined(shown, small),
        scope="row" if element == "th" else None,
        class_=None if cell.value is None else "number",
        data_value=_sorted_by(cell),
        title=cell.hint or None,
    )


def _sorted_by(cell: Cell) -> str | int | float:
    if cell.value is None:
        return cell.text
    return "" if math.isnan(cell.value) else cell.value
