"""The page of a comparison of runs."""

from __future__ import annotations

from collections.abc import Sequence

from zsad.reports.html.html_tables import table
from zsad.reports.html.markup import Markup, tag
from zsad.reports.html.page import document
from zsad.reports.table_cells import COMPARISON_TITLE, CellTable


def render_comparison(tables: Sequence[CellTable]) -> str:
    """Write the tables as a page of its own."""
    header = tag(
        "header",
        tag("h1", COMPARISON_TITLE),
        tag("p", "Percent; the best of a comparison is bold.", class_="facts"),
    )
    return document(COMPARISON_TITLE, header, *map(_section, tables))


def _section(block: CellTable) -> Markup:
    notes = [tag("p", note, class_="remark") for note in block.notes]
    return tag(
        "section", tag("h2", block.title), table(block.title, block.heading, block.rows), *notes
    )
